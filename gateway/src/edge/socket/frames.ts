// What is said on a socket, one JSON object a message: what a client may send and its parser, what the server sends. Pure.
import { z } from 'zod';
import { GatewayError } from '../../core/errors.ts';
import { parseJson } from '../../wire/json.ts';

/** No message repeats more of what was sent, in characters. */
const MOST_REPEATED = 200;
/** Names a call on its connection: the client's choice. */
const ID = /^[\w.-]{1,64}$/;
const id = z.string().regex(ID, 'expected 1 to 64 letters, digits, "_", "-" or "."');
const MOST_HEADERS = 32;
const headerName = z.string().regex(/^[a-z0-9-]{1,64}$/, 'expected a name in lower case');
const headerValue = z
  .string()
  .regex(/^[\x20-\x7e]{0,1024}$/, 'expected up to 1,024 printable ASCII characters');

const CALL = z.strictObject({
  type: z.literal('call'),
  id,
  route: z.string().max(1_024),
  body: z.unknown(),
  priority: z.string().optional(),
  deadline_ms: z.number().optional(),
  session: z.string().optional(),
  idempotency_key: z.string().optional(),
  headers: z
    .record(headerName, headerValue)
    .refine((headers) => Object.keys(headers).length <= MOST_HEADERS, `expected at most ${MOST_HEADERS}`)
    .optional(),
});
const CANCEL = z.strictObject({ type: z.literal('cancel'), id });
const RESUME = z.strictObject({
  type: z.literal('resume'),
  id,
  stream: z.string().max(64),
  after: z.int().min(0),
});
const PING = z.strictObject({ type: z.literal('ping') });

export type CallFrame = Readonly<z.infer<typeof CALL>>;
export type ResumeFrame = Readonly<z.infer<typeof RESUME>>;
export type ClientFrame = CallFrame | ResumeFrame | Readonly<z.infer<typeof CANCEL> | z.infer<typeof PING>>;

const CLIENT_FRAMES: ReadonlyMap<unknown, z.ZodType<ClientFrame>> = new Map<unknown, z.ZodType<ClientFrame>>([
  ['call', CALL],
  ['cancel', CANCEL],
  ['resume', RESUME],
  ['ping', PING],
]);

/** A message that is no frame, and the id by which its client would know it, where it bears one. */
export interface FrameFault {
  readonly fault: GatewayError;
  readonly id: string | undefined;
}

/** A message as a frame; never throws. */
export function parseFrame(message: Uint8Array): ClientFrame | FrameFault {
  let value: unknown;
  try {
    value = parseJson(message);
  } catch (thrown) {
    return { fault: thrown as GatewayError, id: undefined };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { fault: new GatewayError('invalid_request', 'A frame is a JSON object.'), id: undefined };
  }
  const { type, id } = value as { readonly type?: unknown; readonly id?: unknown };
  const known = typeof id === 'string' && ID.test(id) ? id : undefined;
  const schema = CLIENT_FRAMES.get(type);
  if (!schema) {
    const types = [...CLIENT_FRAMES.keys()].join(', ');
    const message = `A frame's "type" is one of: ${types}.`;
    return { fault: new GatewayError('invalid_request', message, { param: 'type' }), id: known };
  }
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : { fault: faultOf(parsed.error), id: known };
}

function faultOf({ issues: [issue] }: z.ZodError): GatewayError {
  const param = issue!.path.join('.').slice(0, MOST_REPEATED) || undefined;
  const where = param === undefined ? 'The frame' : `The frame's "${param}"`;
  return new GatewayError('invalid_request', `${where}: ${issue!.message.slice(0, MOST_REPEATED)}.`, {
    param,
  });
}

export const SERVER_KINDS = ['head', 'event', 'error', 'end', 'pong', 'going_away'] as const;
export const CLIENT_KINDS = ['call', 'cancel', 'resume', 'ping', 'unknown'] as const;
export type FrameKind = (typeof SERVER_KINDS)[number] | (typeof CLIENT_KINDS)[number];

/** What is sent, ready to be. */
export interface ServerFrame {
  readonly kind: (typeof SERVER_KINDS)[number];
  readonly text: string;
}

/** What an answer's head or end says of it, as headers of HTTP. */
export type FrameHeaders = Readonly<Record<string, string>>;

export type EndReason = 'complete' | 'cancelled' | 'failed';

export function headFrame(id: string, stream: string, headers: FrameHeaders): ServerFrame {
  return { kind: 'head', text: JSON.stringify({ type: 'head', id, stream, headers }) };
}

/** `data`: JSON already, of one event; `seq`: undefined where it has no number. */
export function eventFrame(id: string, seq: number | undefined, data: string): ServerFrame {
  const number = seq === undefined ? '' : `"seq":${seq},`;
  return { kind: 'event', text: `{"type":"event","id":"${id}",${number}"data":${data}}` };
}

/** `body`: as the answer of HTTP would have it; `id`: undefined where it is of no call. */
export function errorFrame(
  id: string | undefined,
  status: number,
  body: object,
  retryAfterMs: number | undefined,
): ServerFrame {
  const frame = { type: 'error', id, status, retry_after_ms: retryAfterMs, error: body };
  return { kind: 'error', text: JSON.stringify(frame) };
}

export function endFrame(id: string, reason: EndReason, headers?: FrameHeaders): ServerFrame {
  return { kind: 'end', text: JSON.stringify({ type: 'end', id, reason, headers }) };
}

export const PONG: ServerFrame = { kind: 'pong', text: '{"type":"pong"}' };

/** `drainMs`: how long open calls may go on. */
export function goingAwayFrame(drainMs: number): ServerFrame {
  return { kind: 'going_away', text: JSON.stringify({ type: 'going_away', drain_ms: drainMs }) };
}
