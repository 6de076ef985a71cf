// Who takes another server's answer, as it comes from the network.

/** Names in lower case. */
export type UpstreamHeaders = Readonly<Record<string, string | string[] | undefined>>;

export interface UpstreamReader {
  /** Once, before any data; of the answer, not of hints that come before it: the status is at least 200. */
  head(status: number, headers: UpstreamHeaders): void;
  /** The bytes are valid until it returns: what the network brings next is read to the same place. */
  data(bytes: Buffer): void;
}
