// The compute of an answer within the limits of its key and model: takes what may be had of it, begins, and gives back in every
// ending what was not used. Who reads the answer, and how, is its caller's.
import { toGatewayError } from '../../core/errors.ts';
import type { RequestRecord } from '../../core/observer.ts';
import { dearest, type Price } from '../../core/price.ts';
import type { Cost } from '../../core/ticket.ts';
import type { ServedModel } from '../../core/world.ts';
import { countCalls } from '../../pipeline/choices.ts';
import type { Answer, Pipeline } from '../../pipeline/pipeline.ts';
import { estimateCost } from '../../scheduling/cost.ts';
import type { KeyQuotas, Reservation } from '../../scheduling/quota.ts';
import { setRateLimitHeaders } from '../access/rate-limit-headers.ts';
import type { Asked } from '../asking/asked.ts';

export interface ComputeOptions {
  readonly pipeline: Pipeline;
  readonly quotas: KeyQuotas;
}

/** Resolves when `read` has read the answer to its end; whatever it rejects with, also a bug of ours, ends the compute. */
export async function compute(
  asked: Asked,
  options: ComputeOptions,
  read: (answer: Answer) => Promise<void>,
): Promise<void> {
  await withinLimits(asked, wantedBy(asked), options.quotas, async (parallel) => {
    const answer = start(asked, options.pipeline, parallel);
    try {
      await read(answer);
    } catch (thrown) {
      answer.cancel(toGatewayError(thrown));
      throw thrown;
    }
  });
}

/** What a request wants of its limits. */
export interface Wanted {
  /** Calls at once. */
  readonly parallel: number;
  readonly cost: Cost;
}

/** Takes it, or as many of the calls as there are, for as long as the work lasts. Rejects with `rate_limited`, or as the work does. */
export async function withinLimits<Result>(
  asked: Pick<Asked, 'exchange' | 'key' | 'model' | 'record'>,
  wanted: Wanted,
  quotas: KeyQuotas,
  work: (parallel: number) => Promise<Result>,
): Promise<Result> {
  const taken = reserve(asked, wanted, quotas);
  const reservation = taken instanceof Promise ? await taken : taken;
  asked.record.admitted = true;
  try {
    return await work(reservation.parallel);
  } finally {
    settle(reservation, asked.record, asked.model);
  }
}

/** The answer's head tells what is left. */
function reserve(
  { exchange, key, model }: Pick<Asked, 'exchange' | 'key' | 'model'>,
  { parallel, cost }: Wanted,
  quotas: KeyQuotas,
): Reservation | Promise<Reservation> {
  try {
    return quotas.admit(key, model, { parallel, cost, price: highestPrice(model) });
  } finally {
    setRateLimitHeaders(exchange, quotas.standing(key, model));
  }
}

function wantedBy({ request, model }: Asked): Wanted {
  const { calls } = request;
  const parallel = Math.min(request.parallel, countCalls(calls, model.backends));
  const cost = { promptTokens: 0, outputTokens: 0 };
  for (const call of calls) {
    const { promptTokens, outputTokens } = estimateCost(call);
    cost.promptTokens += promptTokens;
    cost.outputTokens += outputTokens;
  }
  return { parallel, cost };
}

function start(asked: Asked, pipeline: Pipeline, parallel: number): Answer {
  const { key, record, request, model, deadlineMs, failover, mayDegrade, mayShare, session, hops } = asked;
  const calls = request.stream ? request.calls : request.calls.map((call) => ({ ...call, isWhole: true }));
  const { weight } = key;
  return pipeline.start({
    record,
    model,
    calls,
    parallel,
    deadlineMs,
    failover,
    mayDegrade,
    mayShare,
    session,
    hops,
    weight,
  });
}

/** What none of the model's back ends is dearer than; undefined: none of them has a price. */
function highestPrice({ backends, prices }: ServedModel): Price | undefined {
  const known = backends.flatMap(({ id }) => prices?.get(id) ?? []);
  return known.length === 0 ? undefined : dearest(known);
}

/** Gives back what was not used. What was never begun counts for nothing. Of an answer that was cut nobody counted the tokens: they stay estimated. */
function settle(reservation: Reservation, record: RequestRecord, { prices }: ServedModel): void {
  const { backend, usage, firstTokenMs } = record;
  // What came without a back end of its own has a usage all the same, and costs nothing.
  const price = backend === undefined ? undefined : prices?.get(backend);
  if (usage !== undefined) reservation.settle(usage, price);
  else if (backend === undefined) reservation.cancel();
  else if (firstTokenMs === undefined) reservation.settle({ completionTokens: 0 }, price);
  reservation.release();
}
