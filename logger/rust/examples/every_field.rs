//! One record of each kind, so that together they have every field that an application can give: what `logger/stored/` stores and asks for.

use cordwood_logger::{Failure, Level, TaskContext, create_logger, flush, here};
use serde_json::json;

const HEADERS: [(&str, &str); 7] = [
    ("x-tenant-id", "t-1"),
    ("x-tenant-slug", "acme"),
    ("x-user-id", "u-1"),
    ("x-session-id", "s-1"),
    ("x-impersonator-id", "i-1"),
    ("x-request-id", "r-1"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
];

fn main() {
    let log = create_logger("storefront");
    let request = log.for_request(&HEADERS).with_source("checkout");
    let slow = request.at(Level::Warn).place(here!()).field("action", "pay").field("orderId", 17);
    slow.json("items", &json!([{"sku": "a-1"}])).send("slow answer");
    let failure =
        Failure::new("PaymentError", "card refused").code("card_declined").caused_by("connection reset");
    log.named("db.pool").at(Level::Error).place(here!()).failure(&failure).send("payment failed");
    let task = TaskContext::new("42", &log, ());
    task.logger.at(Level::Info).place(here!()).json("metadata", &json!({"progress": 50})).send("half done");
    log.named("audit.instance").audit("Instance spawned", "instance_spawn", json!({"instance_id": "abc123"}));
    let plugin = log.at(Level::Info).place(here!()).field("plugin", "hello-plugin").field("pid", 12345);
    plugin.send("plugin said \"hi\"\n日本");
    log.at(Level::Debug).place(here!()).field("step", 1).send("below");
    flush();
}
