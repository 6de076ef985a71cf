// Answers that need no compute of their own: of two identical requests whose answer is decided by what they ask, the second
// reads what the first one makes, or is given what was kept of an earlier one.
// It must never share between tenants, nor where the model's configuration does not ask for it.
import type { ChatRequest, Usage } from '../core/chat.ts';
import type { Clock } from '../core/clock.ts';
import { noteDegraded } from '../core/observer.ts';
import type { ServedModel } from '../core/world.ts';
import { AnswerCache, type KeptAnswer } from './answer-cache.ts';
import { answerKey } from './answer-key.ts';
import type { Run } from './call-runner.ts';
import { wayOn } from './going-on.ts';
import { type Reader, SharedAnswer } from './shared-answer.ts';
import type { StreamLog } from './stream-log.ts';

/** A call whose answer may be shared. */
export interface SharedCall extends Omit<Reader, 'isFollower'> {
  readonly model: ServedModel;
  readonly request: ChatRequest;
  /** Where `push` leads to. */
  readonly log: StreamLog;
  /** What was promised beside the answer, as text: who shares a compute was promised the same. */
  readonly terms: string;
  /** False: an answer that was begun ends with its back end. */
  readonly mayGoOn: boolean;
  /** Computes the answer. */
  readonly compute: (run: Run) => Promise<Usage>;
}

/** What there is of one picture of a model: the next picture begins with nothing. */
interface ModelAnswers {
  readonly inTheMaking: Map<string, SharedAnswer>;
  readonly cache: AnswerCache | undefined;
}

/** Whether the model's configuration asks for it: else there is nothing to look for. */
export function sharesAnswers({ coalesces, answerCache }: ServedModel): boolean {
  return coalesces === true || answerCache !== undefined;
}

/** Of one model; a call beyond that is computed for itself. */
const MOST_IN_THE_MAKING = 10_000;

export class SharedAnswers {
  readonly #clock: Clock;
  /** Bytes that a newcomer may be given at once: they have to fit the log that it is read from. */
  readonly #mostAtOnce: number;
  readonly #models = new WeakMap<ServedModel, ModelAnswers>();

  constructor({ clock, logBytes }: { readonly clock: Clock; readonly logBytes: number }) {
    this.#clock = clock;
    this.#mostAtOnce = logBytes / 2;
  }

  /** Of a model that `sharesAnswers`. Resolves to the usage, as if the call had been computed; its events but for `finish` go to `push`. Rejects with a GatewayError. */
  async answer(call: SharedCall): Promise<Usage> {
    const { model, request, record } = call;
    call.signal.throwIfAborted();
    const key = answerKey(record.tenant, request);
    if (key === undefined) return await call.compute(call);
    const answers = this.#of(model);
    const kept = answers.cache?.get(key);
    if (kept) return await replay(call, kept);
    const place = `${key} ${call.terms} ${request.isWhole === true}`;
    const running = model.coalesces ? answers.inTheMaking.get(place) : undefined;
    if (!running) return await this.#begin(call, answers, key, place);
    const { soFar } = running;
    const fits = soFar !== undefined && soFar.bytes <= this.#mostAtOnce;
    return fits ? await read(call, running, true) : await call.compute(call);
  }

  async #begin(call: SharedCall, answers: ModelAnswers, key: string, place: string): Promise<Usage> {
    const { model, record, request, mayGoOn } = call;
    const { inTheMaking, cache } = answers;
    const shared: SharedAnswer = new SharedAnswer({
      clock: this.#clock,
      record,
      canGoOn: (standing) => mayGoOn && model.backends.some((one) => wayOn(request, standing, one)),
      onOver: (usage) => {
        if (inTheMaking.get(place) === shared) inTheMaking.delete(place);
        const { soFar } = shared;
        const { backend, continued } = shared.record;
        if (usage && soFar && continued === 0) cache?.keep(key, { ...soFar, usage, backend });
      },
    });
    if (model.coalesces && inTheMaking.size < MOST_IN_THE_MAKING) inTheMaking.set(place, shared);
    const reading = read(call, shared, false);
    shared.begin(call.compute);
    return await reading;
  }

  #of(model: ServedModel): ModelAnswers {
    let answers = this.#models.get(model);
    if (!answers) {
      const { answerCache } = model;
      const cache = answerCache && new AnswerCache(answerCache, this.#clock);
      answers = { inTheMaking: new Map(), cache };
      this.#models.set(model, answers);
    }
    return answers;
  }
}

async function read(call: SharedCall, shared: SharedAnswer, isFollower: boolean): Promise<Usage> {
  const end = await shared.read({ ...call, isFollower });
  if ('usage' in end) return end.usage;
  return await call.compute({ ...call, standing: end.standing });
}

/** As fast as it is read: what is there already may be more than its log holds. */
async function replay({ record, push, log }: SharedCall, kept: KeptAnswer): Promise<Usage> {
  noteDegraded(record, 'cache');
  record.backend ??= kept.backend;
  for (const event of kept.events) {
    for (let wait = log.whenReaderWaits(); wait; wait = log.whenReaderWaits()) await wait;
    push(event);
  }
  return { ...kept.usage, cachedTokens: kept.usage.promptTokens };
}
