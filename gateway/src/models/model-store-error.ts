// What goes wrong around models on disk, told to people.
// The message is one or two plain sentences that say what to do; it never holds a token, a stack or a signed address.

export type ModelStoreErrorCode =
  /** Neither in the catalogue nor in the store. */
  | 'unknown_model'
  /** A file, or a stored model, that is not there. */
  | 'not_found'
  /** No source answered, or none has the file. Nothing was downloaded. */
  | 'unreachable'
  /** A download started and could not be ended. What arrived is kept: the next pull goes on from there. */
  | 'broken'
  /** The bytes are not those that the checksum names. They were removed. */
  | 'checksum'
  | 'no_space'
  | 'not_gguf'
  /** A GGUF file whose end is missing. */
  | 'cut'
  /** Another process holds the store and does not move. */
  | 'busy'
  /** The store's own files cannot be read or written. */
  | 'store';

export class ModelStoreError extends Error {
  override readonly name = 'ModelStoreError';
  readonly code: ModelStoreErrorCode;

  constructor(code: ModelStoreErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** The system's error code (`ENOENT`), where what was thrown has one. */
export function systemCode(thrown: unknown): string | undefined {
  if (typeof thrown !== 'object' || thrown === null || !('code' in thrown)) return undefined;
  return typeof thrown.code === 'string' ? thrown.code : undefined;
}

/** The shortest true words for what was thrown: for the middle of a sentence. */
export function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const code = systemCode(thrown) ?? systemCode(thrown.cause);
  const known: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'nothing listens there',
    ECONNRESET: 'the connection was cut',
    UND_ERR_SOCKET: 'the connection was cut',
    ENOTFOUND: 'the host name is unknown',
    EAI_AGAIN: 'the host name could not be looked up',
    ENETUNREACH: 'the network is not reachable',
    EHOSTUNREACH: 'the host is not reachable',
    ETIMEDOUT: 'no answer',
    UND_ERR_CONNECT_TIMEOUT: 'no answer',
    UND_ERR_HEADERS_TIMEOUT: 'no answer',
    UND_ERR_BODY_TIMEOUT: 'the transfer stood still',
    ENOSPC: 'the disk is full',
    EDQUOT: 'the disk quota is used up',
    EACCES: 'permission denied',
    EPERM: 'permission denied',
    EROFS: 'the disk is read-only',
  };
  return (code && known[code]) || thrown.message || code || 'unknown reason';
}
