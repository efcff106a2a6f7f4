//! Converts the key-values of the `log` crate into fields.

use log::kv::{Error, Key, Value as LogValue, VisitSource, VisitValue};

use crate::fields::Fields;

pub(crate) fn put(fields: &mut Fields, record: &log::Record<'_>) {
    // (It never fails: the visitor does not.)
    let _ = record.key_values().visit(&mut Pairs(fields));
}

struct Pairs<'a>(&'a mut Fields);

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: LogValue<'kvs>) -> Result<(), Error> {
        value.visit(One { fields: self.0, key: key.as_str() })
    }
}

struct One<'a> {
    fields: &'a mut Fields,
    key: &'a str,
}

impl<'v> VisitValue<'v> for One<'_> {
    fn visit_any(&mut self, value: LogValue<'_>) -> Result<(), Error> {
        self.fields.put(self.key, format_args!("{value}"));
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.fields.put(self.key, value);
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        self.fields.put(self.key, value);
        Ok(())
    }

    fn visit_u128(&mut self, value: u128) -> Result<(), Error> {
        self.fields.put(self.key, value);
        Ok(())
    }

    fn visit_i128(&mut self, value: i128) -> Result<(), Error> {
        self.fields.put(self.key, value);
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), Error> {
        self.fields.put(self.key, value);
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.fields.put(self.key, value);
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), Error> {
        self.fields.put(self.key, value);
        Ok(())
    }
}
