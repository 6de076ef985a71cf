// An attempt whose first word may be late: then the same call runs on a second back end too, and the first of the two that
// speaks goes on, while the other is ended at once. Whether and when is `hedging.ts`'s to say.
// It must never give words of both, and never ask a second time for what has spoken or was begun before.
import type { Backend } from '../core/backend.ts';
import type { EventSink, TokenEvent } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import { comesBack, type Ending, isWhole, type Lost, runAttempt } from './attempt.ts';
import type { Call, Standing } from './call.ts';
import type { Hedging } from './hedging.ts';
import type { Turn } from './next-turn.ts';

/** One of the two. */
interface Runner {
  readonly turn: Turn;
  readonly startedAt: number;
  readonly stop: AbortController;
  /** What the second one has said before the race was decided: no more than who it is. */
  readonly held: TokenEvent[];
}

/** As `runAttempt`. A back end that failed beside the attempt that counts is put into `failed`. */
export function runHedged(
  call: Call,
  turn: Turn,
  standing: Standing | undefined,
  failed: Set<Backend>,
  push: EventSink,
): Promise<Ending> {
  const { hedging } = call;
  if (!hedging || !mayBeHedged(call, turn)) return runAttempt(call, turn, standing, push);
  const race = new Race({ call, hedging, standing, failed, push });
  race.enter(turn);
  race.watch();
  return race.outcome;
}

/** An answer that is asked for whole is silent until its end, and for batch work nobody waits. */
function mayBeHedged({ request, mayFailOver }: Call, { ticket, way }: Turn): boolean {
  return (
    mayFailOver &&
    way === 'anew' &&
    request.isWhole !== true &&
    ticket.priority !== 'batch' &&
    ticket.backends.length > 1
  );
}

interface RaceOptions {
  readonly call: Call;
  readonly hedging: Hedging;
  readonly standing: Standing | undefined;
  readonly failed: Set<Backend>;
  readonly push: EventSink;
}

class Race {
  readonly #options: RaceOptions;
  readonly #outcome = Promise.withResolvers<Ending>();
  readonly #running = new Set<Runner>();
  #first: Runner | undefined;
  #second: Runner | undefined;
  #winner: Runner | undefined;
  #firstLoss: Lost | undefined;
  #stopWatching = () => {};

  constructor(options: RaceOptions) {
    this.#options = options;
  }

  /** How the race ends. Never rejects. */
  get outcome(): Promise<Ending> {
    return this.#outcome.promise;
  }

  /** Runs an attempt on the turn. */
  enter(turn: Turn): Runner {
    const { call, standing } = this.#options;
    const stop = new AbortController();
    const runner: Runner = { turn, startedAt: call.clock.now(), stop, held: [] };
    this.#first ??= runner;
    this.#running.add(runner);
    const signal = AbortSignal.any([turn.lease.signal, stop.signal]);
    const take = (event: TokenEvent) => this.#take(runner, event);
    void runAttempt(call, turn, standing, take, signal).then((ending) => this.#ended(runner, ending));
    return runner;
  }

  /** Waits for the first word, and asks a second back end when it is late. */
  watch(): void {
    const { call, hedging } = this.#options;
    const { turn, startedAt } = this.#first!;
    const delayMs = hedging.delayMs(turn.lease.backend);
    if (delayMs === undefined || this.#winner) return;
    const restMs = startedAt + delayMs - call.clock.now();
    if (restMs <= 0 && this.#hedge()) return;
    // Where nobody could be asked, it is late still, and may be looked at again.
    this.#stopWatching = call.clock.after(restMs > 0 ? restMs : delayMs, () => this.watch());
  }

  /** Whether a second back end runs the call: one was free, and a hedge was left to pay with. */
  #hedge(): boolean {
    const { call, hedging } = this.#options;
    const { ticket, lease } = this.#first!.turn;
    if (!hedging.mayHedge) return false;
    const elsewhere = { ...ticket, excluded: new Set(ticket.excluded).add(lease.backend) };
    const second = call.scheduler.tryAcquire(elsewhere);
    if (!second) return false;
    hedging.pay();
    call.record.hedged += 1;
    this.#second = this.enter({ ticket: elsewhere, lease: second, way: 'anew' });
    return true;
  }

  #take(runner: Runner, event: TokenEvent): void {
    if (!this.#winner && event.type !== 'start') this.#decide(runner);
    if (this.#winner === runner || (!this.#winner && runner === this.#first)) this.#options.push(event);
    else if (!this.#winner) runner.held.push(event);
  }

  #decide(winner: Runner): void {
    this.#winner = winner;
    this.#stopWatching();
    this.#heard(winner);
    for (const runner of this.#running) {
      if (runner === winner) continue;
      runner.stop.abort(new GatewayError('cancelled', 'Another back end spoke first.'));
      // The second one was given less time, which says nothing of its back end.
      if (runner === this.#first) this.#heard(runner);
    }
    if (winner === this.#first) return;
    this.#becomeSpeaker(winner);
    for (const event of winner.held) this.#options.push(event);
  }

  #heard({ turn, startedAt }: Runner): void {
    const { call, hedging } = this.#options;
    hedging.heard(turn.lease.backend, call.clock.now() - startedAt);
  }

  /** Who announced itself and then said nothing is not who speaks. */
  #becomeSpeaker({ turn }: Runner): void {
    const { record } = this.#options.call;
    if (record.backend === this.#first!.turn.lease.backend.id) record.backend = turn.lease.backend.id;
    if (record.firstTokenMs === undefined) record.speaker = undefined;
  }

  /** The winner's end is the race's; where nobody wins it is the last one's, with the error of the first. */
  #ended(runner: Runner, ending: Ending): void {
    this.#running.delete(runner);
    const isLoser = this.#winner !== undefined && this.#winner !== runner;
    if (isLoser) {
      ending.giveBack();
      return;
    }
    if (isWhole(ending)) {
      if (!this.#winner) this.#decide(runner);
      this.#finish(ending);
      return;
    }
    if (this.#winner || this.#running.size === 0) {
      const { error } = this.#firstLoss ?? ending;
      this.#finish(this.#winner ? ending : { ...ending, error });
      return;
    }
    this.#firstLoss = ending;
    if (!ending.isPreempted && !comesBack(ending)) this.#options.failed.add(ending.by);
    if (runner === this.#first) this.#becomeSpeaker(this.#second!);
    ending.giveBack();
  }

  #finish(ending: Ending): void {
    const { observer, record } = this.#options.call;
    this.#stopWatching();
    if (this.#second) observer.hedged?.(record, this.#winner === this.#second ? 'won' : 'lost');
    this.#outcome.resolve(ending);
  }
}
