//! The only room that speaks SQL.

pub mod audit;
pub mod blocks;
pub mod candidates;
pub mod catalogue;
pub mod commit;
pub mod connect;
pub mod ddl;
pub mod dead_letters;
pub mod into_table;
pub mod migrate;
pub mod positions;
pub mod ring;
pub mod roles;
pub mod rollup;
pub mod scope;
pub mod seal;
pub mod search;
