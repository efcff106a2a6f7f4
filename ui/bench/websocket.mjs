// As much of a WebSocket's server as the bench needs: text frames both ways, the close frame, nothing else. Its callers are pages of the bench.
import { createHash } from "node:crypto";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Answers an `upgrade` request. `onText` hears what the page says. */
export function accept(request, socket, protocol, { onText = () => {}, onClose = () => {} }) {
  const key = createHash("sha1").update(request.headers["sec-websocket-key"] + GUID).digest("base64");
  const lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${key}`];
  if (protocol) lines.push(`Sec-WebSocket-Protocol: ${protocol}`);
  socket.setNoDelay(true);
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  let rest = Buffer.alloc(0);
  socket.on("data", (data) => {
    rest = Buffer.concat([rest, data]);
    for (let frame = first(rest); frame; frame = first(rest)) {
      rest = rest.subarray(frame.length);
      if (frame.code === 1) onText(frame.payload.toString("utf8"));
      if (frame.code === 8) socket.end();
    }
  });
  socket.on("close", onClose);
  socket.on("error", () => socket.destroy());
  return { send: (text) => socket.writable && socket.write(framed(text)), end: () => socket.end() };
}

function first(bytes) {
  if (bytes.length < 6) return null;
  let size = bytes[1] & 127;
  let at = 2;
  if (size === 126) [size, at] = [bytes.readUInt16BE(2), 4];
  else if (size === 127) [size, at] = [Number(bytes.readBigUInt64BE(2)), 10];
  const length = at + 4 + size;
  if (bytes.length < length) return null;
  const payload = Buffer.from(bytes.subarray(at + 4, length));
  for (let n = 0; n < size; n++) payload[n] ^= bytes[at + (n % 4)];
  return { code: bytes[0] & 15, payload, length };
}

function framed(text) {
  const payload = Buffer.from(text);
  const size = payload.length;
  let head;
  if (size < 126) head = Buffer.from([0x81, size]);
  else if (size < 65536) (head = Buffer.from([0x81, 126, 0, 0])).writeUInt16BE(size, 2);
  else (head = Buffer.from([0x81, 127, 0, 0, 0, 0, 0, 0, 0, 0])).writeBigUInt64BE(BigInt(size), 2);
  return Buffer.concat([head, payload]);
}
