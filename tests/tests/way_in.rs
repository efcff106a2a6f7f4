//! What comes in: bad lines and bad bodies through agent, Kafka and writer into PostgreSQL, and the topic as standard OTLP; and what wrong configuration gets.

#[path = "way_in/bad_input.rs"]
mod bad_input;
#[path = "way_in/otlp.rs"]
mod otlp;
#[path = "way_in/own_log.rs"]
mod own_log;
#[path = "way_in/small_topic.rs"]
mod small_topic;
#[path = "way_in/stored.rs"]
mod stored;
#[path = "way_in/wrong_configuration.rs"]
mod wrong_configuration;
