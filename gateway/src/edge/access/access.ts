// Who may come in. With keys: who shows one. Without: an open server, which is only ever bound to loopback, and
// there the danger is a web page in the user's own browser; so Host and Origin must be ours.
import { hash, timingSafeEqual } from 'node:crypto';
import { GatewayError } from '../../core/errors.ts';
import type { AccessKey, World } from '../../core/world.ts';
import type { RequestHeaders } from '../http/request-parser.ts';

/** Whose call it is on a server without keys. */
const ANONYMOUS: AccessKey = { tenant: 'anonymous', digest: Buffer.alloc(0), models: undefined };

export interface AccessRules {
  /** Web origins that may call from a browser; `*` is any. */
  readonly corsOrigins: readonly string[];
}

/** A request, as far as it says who sends it. */
export interface Caller {
  readonly headers: RequestHeaders;
}

/** Hosts that name this machine from within: `localhost`, 127.0.0.0/8 and `::1`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}

export function hashKey(secret: string): Buffer {
  return hash('sha256', secret, 'buffer');
}

/** The caller's key. Throws `unauthenticated` or, on an open server, `forbidden`. */
export function authenticate(request: Caller, world: World, rules: AccessRules): AccessKey {
  if (world.keys.length === 0) {
    refuseForeignPages(request, rules);
    return ANONYMOUS;
  }
  const secret = secretOf(request);
  if (secret === undefined) {
    throw new GatewayError(
      'unauthenticated',
      'An API key is needed: send it as "Authorization: Bearer KEY".',
    );
  }
  const known = knownTo(world);
  let key = known.get(secret);
  if (!key) {
    key = keyOf(secret, world);
    if (!key) throw new GatewayError('unauthenticated', 'This API key is not known here.');
    known.set(secret, key);
  }
  return key;
}

/**
 * Secrets that were found right, as many as there are keys at most, for as long as the World. A wrong one learns nothing here: V8
 * compares only texts of the same hash, by a seed that nobody knows, and whether a secret was right its answer says anyway.
 */
const KNOWN = new WeakMap<World, Map<string, AccessKey>>();

function knownTo(world: World): Map<string, AccessKey> {
  let known = KNOWN.get(world);
  if (!known) {
    known = new Map();
    KNOWN.set(world, known);
  }
  return known;
}

/** Every key is compared, and over hashes of one length: the time tells nothing about any of them. */
function keyOf(secret: string, world: World): AccessKey | undefined {
  const digest = hashKey(secret);
  let found: AccessKey | undefined;
  for (const key of world.keys) if (timingSafeEqual(key.digest, digest)) found = key;
  return found;
}

export function mayUse(key: AccessKey, modelId: string): boolean {
  return key.models?.includes(modelId) ?? true;
}

/** Throws `forbidden` if the key is not for this model. */
export function authorizeModel(key: AccessKey, modelId: string): void {
  if (!mayUse(key, modelId)) {
    throw new GatewayError('forbidden', 'This API key is not for this model.', { param: 'model' });
  }
}

export function isAllowedOrigin(origin: string, rules: AccessRules): boolean {
  return rules.corsOrigins.includes('*') || rules.corsOrigins.includes(origin);
}

/**
 * What the caller shows: a bearer token, `x-api-key`, or `key.` and its base64url among the subprotocols of a WebSocket, which is
 * where a page in a browser can put it.
 */
export function secretOf(request: Caller): string | undefined {
  const { authorization } = request.headers;
  const bearer = authorization === undefined ? undefined : /^bearer +(\S+) *$/i.exec(authorization);
  if (bearer) return bearer[1];
  const header = request.headers['x-api-key'];
  if (header) return header;
  const [, encoded] = /(?:^|[ ,])key\.([\w-]+)/.exec(request.headers['sec-websocket-protocol'] ?? '') ?? [];
  return encoded && Buffer.from(encoded, 'base64url').toString();
}

/**
 * Throws `forbidden`. Over HTTP it is the browser that keeps a foreign page from an answer; nobody keeps it from a WebSocket, so
 * this is asked for with keys, too.
 */
export function refuseForeignSocket({ headers: { host, origin } }: Caller, rules: AccessRules): void {
  if (origin === undefined || isAllowedOrigin(origin, rules)) return;
  // A proxy in front may have taken TLS off.
  if (origin === `http://${host}` || origin === `https://${host}`) return;
  throw foreignPage();
}

/**
 * A page anywhere on the web may send a request to 127.0.0.1, and a name that resolves there may make it look
 * same-origin (DNS rebinding). Programs that are no browsers send no Origin and the Host that they were given.
 */
function refuseForeignPages(request: Caller, rules: AccessRules): void {
  const { host, origin } = request.headers;
  const name = host?.replace(/:\d*$/, '').toLowerCase();
  if (name === undefined || !isLoopback(name)) {
    throw new GatewayError(
      'forbidden',
      'This server has no keys and answers to its loopback names only (Host: localhost or 127.0.0.1).',
    );
  }
  if (origin === undefined || origin === `http://${host}` || isAllowedOrigin(origin, rules)) return;
  throw foreignPage();
}

function foreignPage(): GatewayError {
  return new GatewayError(
    'forbidden',
    'Web pages of other origins may not call this server: allow them by "cors_origins" in its configuration.',
  );
}
