// What the scheduler knows of a call: enough to decide when and where it runs, and nothing of its content.

export type Priority = 'interactive' | 'standard' | 'batch';

export interface Ticket {
  /** The request's id, as the client sees it. */
  readonly id: string;
  /** The model asked for; the scheduler picks among the back ends that serve it. */
  readonly model: string;
  /** Whose call it is: a key's name, or 'anonymous'. */
  readonly tenant: string;
  readonly priority: Priority;
  /** When the first token is due, on the monotonic clock in ms; absent: no promise was made. */
  readonly deadlineAt?: number | undefined;
  /** Aborted when the client left or the deadline passed; its reason is a GatewayError. */
  readonly signal: AbortSignal;
  readonly cost: {
    /** Estimated from bytes: exact counts are the engine's, and only refuse. */
    readonly promptTokens: number;
    /** Expected output. */
    readonly outputTokens: number;
  };
}

/** How a call left its back end, for limits and breakers: `ignored` says nothing about the back end's health. */
export type Outcome = 'ok' | 'overload' | 'ignored';
