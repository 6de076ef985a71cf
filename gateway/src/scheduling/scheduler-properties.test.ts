// Guards the scheduler's invariants under random lives: never more running than slots, no free slot beside someone
// who could use it, nobody on a back end that is not for it or waiting for one that is busy or down, the first tier with room
// taken, nobody after its deadline, nobody forgotten, no lease that counts twice, nothing left at the end.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ManualClock } from '../../test/manual-clock.ts';
import type { Backend, BackendLoad } from '../core/backend.ts';
import { GatewayError } from '../core/errors.ts';
import { PRIORITIES, type Priority } from '../core/priority.ts';
import { type Lease, Scheduler } from './scheduler.ts';

type Action =
  | {
      readonly do: 'acquire';
      readonly on: readonly number[];
      readonly hasTiers: boolean;
      readonly without: readonly number[];
      readonly tokens: number;
      readonly dueMs: number;
      readonly priority: Priority;
      readonly tenant: string;
      readonly weight: number;
      readonly resumes: boolean;
      readonly wasPreempted: boolean;
      readonly prompt: number;
    }
  | { readonly do: 'abort' | 'release' | 'speak'; readonly which: number }
  | {
      readonly do: 'load';
      readonly on: number;
      readonly state: (typeof STATES)[number];
      readonly slots: number;
    }
  | { readonly do: 'advance'; readonly ms: number };

const STATES = ['loading', 'ready', 'busy', 'down', 'failed'] as const;
const BACKENDS = 3;
const MAX_WAIT_MS = 1_000;
const backendNumber = fc.nat(BACKENDS - 1);
const actions: fc.Arbitrary<Action[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant('acquire' as const),
        on: fc.uniqueArray(backendNumber, { minLength: 1 }),
        hasTiers: fc.boolean(),
        without: fc.uniqueArray(backendNumber, { maxLength: 1 }),
        tokens: fc.integer({ min: 1, max: 40 }),
        dueMs: fc.integer({ min: 0, max: 2_000 }),
        priority: fc.constantFrom(...PRIORITIES),
        tenant: fc.constantFrom('one', 'two', 'three'),
        weight: fc.constantFrom(0.5, 1, 4),
        resumes: fc.constantFrom(false, false, false, true),
        wasPreempted: fc.constantFrom(false, false, false, true),
        prompt: fc.nat(5),
      }),
    },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('release' as const), which: fc.nat(30) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('speak' as const), which: fc.nat(30) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('abort' as const), which: fc.nat(30) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('load' as const),
        on: backendNumber,
        // Mostly ready: else nothing much happens.
        state: fc.constantFrom(...STATES, 'ready' as const, 'ready' as const, 'ready' as const),
        slots: fc.nat(3),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.integer({ min: 1, max: 600 }) }),
    },
  ),
  { maxLength: 60 },
);

interface Call {
  readonly backends: readonly Backend[];
  readonly excluded: ReadonlySet<Backend>;
  readonly abort: AbortController;
  state: 'waiting' | 'running' | 'over';
  lease: Lease | undefined;
}

function newBackend(id: string, continues: Backend['continues']) {
  const listeners = new Set<() => void>();
  let load: BackendLoad = { state: 'ready', slots: 2 };
  const backend: Backend = {
    id,
    continues,
    load: () => load,
    onLoadChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    chat: () => Promise.reject(new Error('not asked here')),
    async close() {},
  };
  const change = (next: BackendLoad) => {
    load = next;
    for (const listener of listeners) listener();
  };
  return { backend, change };
}

test('whatever calls and back ends do, slots are never exceeded, never wasted, and all are free at the end', async () => {
  await fc.assert(
    fc.asyncProperty(actions, async (sequence) => {
      const clock = new ManualClock();
      const scheduler = new Scheduler({ clock, maxWaitingTokens: 100, maxWaitMs: MAX_WAIT_MS });
      const backends = Array.from({ length: BACKENDS }, (_, index) =>
        newBackend(`b${index}`, index === 0 ? 'ids' : undefined),
      );
      const calls: Call[] = [];
      /** Back ends that were given more than they have slots for. */
      const overbooked: string[] = [];
      /** Calls that waited and were given a slot after they had given up. */
      const late: string[] = [];
      /** Back ends that were given to calls that were not for them. */
      const misplaced: string[] = [];
      const runningOn = (backend: Backend) =>
        calls.filter(({ state, lease }) => state === 'running' && lease?.backend === backend).length;
      const hasRoom = (backend: Backend) => runningOn(backend) < backend.load().slots;
      const candidatesOf = (call: Call) => call.backends.filter((backend) => !call.excluded.has(backend));

      for (const action of sequence) {
        switch (action.do) {
          case 'acquire': {
            const call: Call = {
              backends: action.on.map((index) => backends[index]!.backend),
              excluded: new Set(action.without.map((index) => backends[index]!.backend)),
              abort: new AbortController(),
              state: 'waiting',
              lease: undefined,
            };
            // All in one tier, or each in its own.
            const tiers = action.hasTiers ? action.on.map(() => 0) : undefined;
            const deadlineAt = clock.now() + action.dueMs;
            const free = candidatesOf(call).filter(hasRoom);
            calls.push(call);
            const over = () => {
              call.state = 'over';
            };
            scheduler
              .acquire({
                id: `call-${calls.length}`,
                model: 'model',
                backends: call.backends,
                tiers,
                excluded: call.excluded,
                tenant: action.tenant,
                weight: action.weight,
                priority: action.priority,
                resumes: action.resumes,
                wasPreempted: action.wasPreempted,
                deadlineAt,
                signal: call.abort.signal,
                cost: { promptTokens: action.tokens, outputTokens: 10 },
                prefix: { blocks: [action.prompt], whole: action.prompt },
              })
              .then((lease) => {
                call.state = 'running';
                call.lease = lease;
                if (lease.queueMs > 0 && clock.now() >= deadlineAt) late.push(`${calls.indexOf(call)}`);
                const isAtOnce = free.length > 0 && !action.hasTiers;
                if (isAtOnce && lease.backend !== free[0]) misplaced.push(lease.backend.id);
                if (call.excluded.has(lease.backend)) misplaced.push(lease.backend.id);
                // Slots are counted when a lease is given: a back end that shrinks later keeps what it runs.
                if (runningOn(lease.backend) > lease.backend.load().slots) overbooked.push(lease.backend.id);
              }, over);
            break;
          }
          case 'abort':
            calls[action.which]?.abort.abort(new GatewayError('cancelled', 'The client left.'));
            break;
          case 'release': {
            const call = calls[action.which];
            if (call?.state !== 'running') break;
            call.state = 'over';
            call.lease!.release('ok', { promptTokens: 7, completionTokens: 3 });
            call.lease!.release('overload');
            break;
          }
          case 'speak':
            calls[action.which]?.lease?.spoke();
            break;
          case 'load':
            backends[action.on]!.change({
              state: action.state,
              slots: action.state === 'ready' ? action.slots : 0,
            });
            break;
          case 'advance':
            clock.advance(action.ms);
        }
        await new Promise(setImmediate);
        const waiting = calls.filter(({ state }) => state === 'waiting');
        const running = calls.filter(({ state }) => state === 'running');
        assert.deepEqual(scheduler.snapshot(), { waiting: waiting.length, running: running.length });
        assert.deepEqual(overbooked, []);
        assert.deepEqual(misplaced, []);
        assert.deepEqual(late, []);
        for (const call of waiting) {
          const candidates = candidatesOf(call);
          assert.ok(!candidates.some(hasRoom), 'it waits beside a free slot');
          const states = candidates.map((backend) => backend.load().state);
          assert.ok(
            states.some((state) => state === 'ready' || state === 'loading'),
            'it waits for nothing',
          );
        }
      }

      clock.advance(MAX_WAIT_MS);
      await new Promise(setImmediate);
      for (const { state, lease } of calls) if (state === 'running') lease!.release('ok');
      assert.ok(
        calls.every(({ state }) => state !== 'waiting'),
        'somebody was forgotten',
      );
      assert.deepEqual(scheduler.snapshot(), { waiting: 0, running: 0 });
      assert.equal(clock.pendingTimers, 0);
    }),
    { numRuns: 200 },
  );
});
