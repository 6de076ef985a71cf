// Texts as frames of a WebSocket, server to client (RFC 6455, 5.2: one frame a message, not masked), several in one piece. All
// else of the protocol is the library's (ws); it writes head and text of each frame apart, and the call of the kernel that joins
// them (writev) was most of what a chunk cost. Pure.

const FINAL_TEXT = 0x81;
/** Lengths from here on stand in two more bytes, and from there on in eight. */
const TWO_BYTES = 126;
const EIGHT_BYTES = 65_536;

export function textFrames(texts: readonly string[]): Buffer {
  const lengths = texts.map((text) => Buffer.byteLength(text));
  const bytes = Buffer.allocUnsafe(lengths.reduce((sum, length) => sum + headLength(length) + length, 0));
  let at = 0;
  for (const [index, text] of texts.entries()) {
    at = writeHead(bytes, at, lengths[index]!);
    at += bytes.write(text, at);
  }
  return bytes;
}

function headLength(length: number): number {
  if (length < TWO_BYTES) return 2;
  return length < EIGHT_BYTES ? 4 : 10;
}

/** Returns where the text begins. */
function writeHead(bytes: Buffer, at: number, length: number): number {
  bytes[at] = FINAL_TEXT;
  if (length < TWO_BYTES) {
    bytes[at + 1] = length;
    return at + 2;
  }
  if (length < EIGHT_BYTES) {
    bytes[at + 1] = 126;
    return bytes.writeUInt16BE(length, at + 2);
  }
  bytes[at + 1] = 127;
  // The upper half of eight bytes: no text is as long.
  bytes.writeUInt32BE(0, at + 2);
  return bytes.writeUInt32BE(length, at + 6);
}
