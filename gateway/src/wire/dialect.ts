// What a dialect is: one parser of requests, and a codec that turns events into bytes.
// Everything here is synchronous and pure: no sockets, no clocks, no HTTP status. What a dialect cannot express stops
// at its codec. A new dialect is one file or folder in `dialects/` and one row in the edge's table of routes.
import type { ChatRequest, PartialAnswer, TokenEvent } from '../core/chat.ts';
import type { GatewayError } from '../core/errors.ts';
import type { FieldNames } from './field-names.ts';

/** A request as a dialect understood it. */
export interface ParsedRequest {
  /** Never empty. More than one where the client sent an array of prompts; their choices are numbered through. */
  readonly calls: readonly ChatRequest[];
  /** How many of the calls may run at once. */
  readonly parallel: number;
  readonly stream: boolean;
  /** The stream's last chunk is to carry the usage (`stream_options.include_usage`). */
  readonly includeUsage: boolean;
  /** Top-level fields that mean nothing here and were ignored. */
  readonly ignored: readonly string[];
  /** What the dialect's answers repeat of their request, by the names that it has there. */
  readonly echo?: Readonly<Record<string, unknown>> | undefined;
  /** What the client calls what back ends call otherwise; absent: the same. */
  readonly names?: FieldNames | undefined;
}

/** What every object of one answer repeats. */
export interface AnswerMeta {
  /** Unique; a dialect puts its own prefix before it. */
  readonly id: string;
  /** Seconds since the epoch. */
  readonly created: number;
  /** The model's id as the client asked for it. */
  readonly model: string;
}

/** The closing record that `x-sluice-report: 1` asks for. Times in ms. */
export interface Report {
  readonly backend: string | undefined;
  readonly model: string | undefined;
  readonly continued: number;
  /** Absent, here and below: never. */
  readonly hedged?: number | undefined;
  readonly preempted?: number | undefined;
  /** What was given up for it: steps of `x-sluice-degraded`, with commas; absent: nothing. */
  readonly degraded: string | undefined;
  readonly stutters: number;
  readonly longest_gap_ms: number;
  readonly queue_ms: number | undefined;
  readonly first_token_ms: number | undefined;
}

/** Turns one answer's events into what is written to its stream. Holds state: one for each stream. */
export interface StreamCodec {
  readonly contentType: string;
  /** Text to write for the event; '' where the event shows only later. Choices are already numbered through. */
  event(event: TokenEvent): string;
  /** What fills a silence without breaking any known client's parser. */
  keepAlive(): string;
  /** The same on a stream whose events bear ids: a whole event that says nothing, since there a blank line breaks clients. */
  idleEvent(): string;
  /** The last thing written on a stream that failed; nothing follows it. */
  error(error: GatewayError): string;
  /** After `finish`: what was held back until usage and report were known, and the dialect's end mark. */
  end(report: Report | undefined): string;
}

export interface Dialect {
  readonly name: string;
  /** Where its clients look for the id of their request, beside `x-request-id`. */
  readonly idHeader?: string | undefined;
  /**
   * The only validation of a request's content. `body` is what `parseJson` gave; `model` is the id in the path, for
   * dialects that have it there. Throws GatewayError `invalid_request` with `param` as a path (`messages[0].role`).
   */
  parse(body: unknown, model: string | undefined): ParsedRequest;
  stream(meta: AnswerMeta, request: ParsedRequest): StreamCodec;
  /** The answer as one JSON object: for requests that did not ask for a stream. Every choice has ended. */
  whole(answer: PartialAnswer, meta: AnswerMeta, request: ParsedRequest, report: Report | undefined): object;
  /** A failure as the body of an answer, for request `id`; absent: as `errorBody` has it. */
  error?(error: GatewayError, id: string): object;
}
