"""An independent OTLP program: reads messages of the topic, writes messages of its own. Files in, files out.

    otlp.py read FILE...            each message's records as one JSON line each, on stdout
    otlp.py write FILE --run NAME   one message as some other producer would write it; what is in it, as JSON lines, on stdout

Depends on opentelemetry-proto and protobuf only.
"""

import argparse
import base64
import json
import time

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber


def plain(value):
    """An AnyValue as what JSON has."""
    kind = value.WhichOneof("value")
    if kind == "bytes_value":
        return {"base64": base64.b64encode(value.bytes_value).decode()}
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def attributes(rows):
    return {row.key: plain(row.value) for row in rows}


def read(paths):
    for path in paths:
        request = ExportLogsServiceRequest()
        with open(path, "rb") as file:
            request.ParseFromString(file.read())
        for resource_logs in request.resource_logs:
            resource = attributes(resource_logs.resource.attributes)
            for scope_logs in resource_logs.scope_logs:
                scope = {"name": scope_logs.scope.name, **attributes(scope_logs.scope.attributes)}
                for record in scope_logs.log_records:
                    row = {
                        "resource": resource,
                        "scope": scope,
                        "time": record.time_unix_nano,
                        "observed": record.observed_time_unix_nano,
                        "severity": SeverityNumber.Name(record.severity_number),
                        "body": plain(record.body),
                    }
                    print(json.dumps(row))


def write(path, run):
    request = ExportLogsServiceRequest()
    resource_logs = request.resource_logs.add()
    for key, value in {
        "service.name": "foreign-shop",
        "k8s.namespace.name": "foreign",
        "k8s.pod.name": "foreign-0",
        # What a foreign program says about the tenant is not believed.
        "cordwood.tenant": "somebody-else",
    }.items():
        row = resource_logs.resource.attributes.add(key=key)
        row.value.string_value = value
    records = resource_logs.scope_logs.add(scope={"name": "otlp.py"}).log_records
    now = time.time_ns()

    text = records.add(time_unix_nano=now, severity_number=SeverityNumber.SEVERITY_NUMBER_ERROR2)
    text.body.string_value = f"{run} a plain text"

    structured = records.add(time_unix_nano=now + 1000, severity_text="warning")
    structured.body.string_value = json.dumps({"msg": f"{run} a JSON text", "order": 7})
    structured.trace_id = bytes(range(16))
    structured.attributes.add(key="user.id").value.string_value = "u-1"

    tree = records.add(observed_time_unix_nano=now + 2000)
    fields = tree.body.kvlist_value.values
    fields.add(key="message").value.string_value = f"{run} a tree"
    fields.add(key="count").value.int_value = 3

    octets = records.add(time_unix_nano=now + 3000)
    octets.body.bytes_value = run.encode() + b" octets \xff"

    with open(path, "wb") as file:
        file.write(request.SerializeToString())
    for level, part in [("ERROR", "a plain text"), ("WARN", "a JSON text"), ("INFO", "a tree"), ("INFO", "octets")]:
        print(json.dumps({"level": level, "contains": f"{run} {part}"}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    reader = commands.add_parser("read")
    reader.add_argument("file", nargs="+")
    writer = commands.add_parser("write")
    writer.add_argument("file")
    writer.add_argument("--run", default="foreign")
    given = parser.parse_args()
    if given.command == "read":
        read(given.file)
    else:
        write(given.file, given.run)


if __name__ == "__main__":
    main()
