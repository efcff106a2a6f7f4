"""One record of each kind, so that together they have every field that an application can give; printed by the logger for Python."""

from cordwood_logger import TaskContext, audit_log, create_logger, create_request_logger

log = create_logger("storefront", location=True)
headers = {
    "x-tenant-id": "t-1", "x-tenant-slug": "acme", "x-user-id": "u-1", "x-session-id": "s-1", "x-impersonator-id": "i-1", "x-request-id": "r-1",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}  # fmt: skip
create_request_logger(headers, log).with_source("checkout").warning("slow answer", action="pay", orderId=17, items=[{"sku": "a-1"}], none=None)


class PaymentError(Exception):
    code = "card_declined"


try:
    try:
        raise ConnectionResetError("connection reset")
    except ConnectionResetError as below:
        raise PaymentError("card refused") from below
except PaymentError:
    log.named("db.pool").exception("payment failed")

TaskContext(log, 42).logger.info("half done", metadata={"progress": 50})
audit_log(log.named("audit.instance"), "Instance spawned", action="instance_spawn", metadata={"instance_id": "abc123"})
log.info('plugin said "hi"\n\u65e5\u672c', plugin="hello-plugin", pid=12345)
log.debug("below", step=1)
