// Every path that this server knows, in one table: what is not here is 404, whatever else the process could do.
// Adding a dialect is one row.
import { GatewayError } from '../core/errors.ts';
import type { Dialect } from '../wire/dialect.ts';
import { chatCompletions } from '../wire/dialects/chat-completions.ts';
import { completions } from '../wire/dialects/completions.ts';
import { generate, generateStream } from '../wire/dialects/generate.ts';
import { messages } from '../wire/dialects/messages/messages.ts';
import { responses } from '../wire/dialects/responses/responses.ts';

/** Who may call: anyone; anyone on loopback, else who has a key; who has a key where keys exist; who has the admin key. */
type Access = 'open' | 'open-on-loopback' | 'key' | 'admin';

interface RouteBase {
  /** For people and for the log. */
  readonly name: string;
  readonly access: Access;
}

export type Route = RouteBase &
  (
    | { readonly kind: 'generation' | 'count-tokens'; readonly dialect: Dialect }
    | {
        readonly kind:
          | 'embeddings'
          | 'rerank'
          | 'front-page'
          | 'health'
          | 'readiness'
          | 'metrics'
          | 'models'
          | 'model'
          | 'user-info'
          | 'stream'
          | 'socket'
          | 'backends';
      }
  );

export interface Match {
  readonly route: Route;
  readonly methods: readonly ('GET' | 'HEAD' | 'POST' | 'DELETE')[];
  /** The `{model}` of the path, decoded. */
  readonly model: string | undefined;
  /** The `{stream}` of the path. */
  readonly stream?: string | undefined;
}

const READ = ['GET', 'HEAD'] as const;
const WRITE = ['POST'] as const;

const FIXED = tableOf([
  fixed('/', READ, { kind: 'front-page', name: 'front_page', access: 'open-on-loopback' }),
  fixed('/healthz', READ, { kind: 'health', name: 'healthz', access: 'open' }),
  fixed('/readyz', READ, { kind: 'readiness', name: 'readyz', access: 'open' }),
  fixed('/metrics', READ, { kind: 'metrics', name: 'metrics', access: 'open-on-loopback' }),
  fixed('/v1/user/info', READ, { kind: 'user-info', name: 'user_info', access: 'key' }),
  fixed('/v1/models', READ, { kind: 'models', name: 'models', access: 'key' }),
  fixed('/v1/chat/completions', WRITE, generation(chatCompletions)),
  fixed('/v1/completions', WRITE, generation(completions)),
  fixed('/v1/embeddings', WRITE, { kind: 'embeddings', name: 'embeddings', access: 'key' }),
  fixed('/v1/rerank', WRITE, { kind: 'rerank', name: 'rerank', access: 'key' }),
  fixed('/v1/messages', WRITE, generation(messages)),
  fixed('/v1/messages/count_tokens', WRITE, {
    kind: 'count-tokens',
    dialect: messages,
    name: 'count_tokens',
    access: 'key',
  }),
  fixed('/v1/responses', WRITE, generation(responses)),
  fixed('/v1/socket', ['GET'], { kind: 'socket', name: 'socket', access: 'key' }),
]);
/** They exist where there is an admin key, and nobody is told of them. */
const ADMIN = tableOf([
  fixed('/admin/backends', READ, { kind: 'backends', name: 'admin_backends', access: 'admin' }),
]);

const MODEL_PREFIX = '/v1/models/';
/** Longer suffixes need no order: none is the end of another. */
const MODEL_ACTIONS = [
  { suffix: '/generate_stream', route: generation(generateStream) },
  { suffix: '/generate', route: generation(generate) },
];
const MODEL_CARD: Route = { kind: 'model', name: 'model', access: 'key' };
const STREAM_PREFIX = '/v1/streams/';
const STREAM: Route = { kind: 'stream', name: 'stream', access: 'key' };
const RESUME = ['GET', 'DELETE'] as const;

/** `hasAdmin`: there is an admin key. Throws `not_found` for unknown paths and `invalid_request` for those that are no text. */
export function matchRoute(path: string, hasAdmin = false): Match {
  // As most are: with nothing to decode.
  const asItIs = FIXED.get(path);
  if (asItIs) return asItIs;
  const decoded = decodePath(path).replace(/(?<=.)\/$/s, '');
  const fixedMatch = FIXED.get(decoded) ?? (hasAdmin ? ADMIN.get(decoded) : undefined);
  if (fixedMatch) return fixedMatch;
  if (decoded.startsWith(MODEL_PREFIX)) {
    const rest = decoded.slice(MODEL_PREFIX.length);
    for (const { suffix, route } of MODEL_ACTIONS) {
      if (rest.endsWith(suffix) && rest.length > suffix.length) {
        return { route, methods: WRITE, model: rest.slice(0, -suffix.length) };
      }
    }
    return { route: MODEL_CARD, methods: READ, model: rest };
  }
  if (decoded.startsWith(STREAM_PREFIX)) {
    const stream = decoded.slice(STREAM_PREFIX.length);
    return { route: STREAM, methods: RESUME, model: undefined, stream };
  }
  throw new GatewayError(
    'not_found',
    `Nothing is served at this path. There is: ${knownPaths().join(', ')}.`,
  );
}

function knownPaths(): string[] {
  const actions = MODEL_ACTIONS.map(({ suffix }) => `${MODEL_PREFIX}{model}${suffix}`);
  return [...FIXED.keys(), ...actions, `${STREAM_PREFIX}{stream}`];
}

function decodePath(path: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    throw new GatewayError('invalid_request', 'The path holds a percent sign that encodes no UTF-8 text.');
  }
  if (decoded.includes('\0')) throw new GatewayError('invalid_request', 'The path holds a NUL character.');
  return decoded;
}

interface FixedMatch extends Match {
  readonly path: string;
}

function tableOf(matches: readonly FixedMatch[]): ReadonlyMap<string, Match> {
  return new Map(matches.map((match) => [match.path, match]));
}

function fixed(path: string, methods: Match['methods'], route: Route): FixedMatch {
  return { path, methods, route, model: undefined };
}

function generation(dialect: Dialect): Route {
  return { kind: 'generation', dialect, name: dialect.name, access: 'key' };
}
