// Guards what routing is for, under a load of many conversations in virtual time: far more of their prompts are found where
// they go than in turn, and no back end has more than its part to do.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../load/seeded-random.ts';
import { PrefixIndex } from './prefix-index.ts';
import { type Candidate, pick, USUAL_WEIGHTS } from './router.ts';

const BLOCK_TOKENS = 64;
const PLACES = 16;
/** For each server: about eleven of their calls run at a time. */
const CLIENTS = 38;
/**
 * What a server keeps: its part of the conversations under way, not all of them. With room for all, and two servers, going in
 * turn finds four fifths of what routing finds.
 */
const KEPT_BLOCKS = 1_000;
const TURN_BLOCKS = 6;
const MINUTES = 10;

/** What conversations are like. */
interface Talk {
  /** Different system prompts, and the blocks of each. */
  readonly systems: number;
  readonly systemBlocks: number;
}
const TALKS: Talk = { systems: 3, systemBlocks: 3 };

interface Server {
  /** What it really has computed and not dropped; as vLLM does it. */
  readonly memory: PrefixIndex;
  /** What the gateway takes it to have. */
  readonly index: PrefixIndex;
  running: number;
  outstandingTokens: number;
  /** Outstanding tokens and calls, times the time that they were it. */
  tokenMs: number;
  callMs: number;
}

interface Conversation {
  readonly id: number;
  readonly system: number;
  readonly turns: number;
  turn: number;
}

type Choose = (servers: readonly Server[], blocks: readonly number[]) => number | undefined;

interface Outcome {
  /** Of all blocks of prompts, those that were there. */
  readonly hitRate: number;
  /** Each server's time-averaged outstanding tokens, in parts of the mean. */
  readonly loads: readonly number[];
  /** Each server's time-averaged calls. */
  readonly calls: readonly number[];
}

/** So many clients talk, one conversation after the other; each turn sends all that was said before. */
function play(choose: Choose, count: number, seed: number, talk = TALKS): Outcome {
  const random = seededRandom(seed);
  const servers = Array.from(
    { length: count },
    (): Server => ({
      memory: new PrefixIndex(KEPT_BLOCKS),
      index: new PrefixIndex(),
      running: 0,
      outstandingTokens: 0,
      tokenMs: 0,
      callMs: 0,
    }),
  );
  const events: { readonly at: number; readonly run: () => void }[] = [];
  const clients = CLIENTS * count;
  const waiting: Conversation[] = [];
  let now = 0;
  let conversations = 0;
  let blocksAsked = 0;
  let blocksFound = 0;
  const plan = (afterMs: number, run: () => void) => {
    const at = now + afterMs;
    events.splice(events.findLastIndex((event) => event.at <= at) + 1, 0, { at, run });
  };
  const converse = () => {
    conversations += 1;
    const system = Math.floor(random() * talk.systems);
    ask({ id: conversations, system, turns: 2 + Math.floor(random() * 6), turn: 1 });
  };
  const ask = (conversation: Conversation) => {
    waiting.push(conversation);
    serve();
  };
  const serve = () => {
    while (waiting.length > 0) {
      const blocks = blocksOf(waiting[0]!, talk);
      const chosen = choose(servers, blocks);
      if (chosen === undefined) return;
      run(servers[chosen]!, waiting.shift()!, blocks);
    }
  };
  const run = (server: Server, conversation: Conversation, blocks: readonly number[]) => {
    const prefix = { blocks, whole: 0 };
    const found = Math.round(server.memory.shareOf(prefix) * blocks.length);
    blocksAsked += blocks.length;
    blocksFound += found;
    server.memory.saw(prefix);
    server.index.saw(prefix);
    const answerTokens = 100 + Math.floor(random() * 200);
    const tokens = (blocks.length - found) * BLOCK_TOKENS + answerTokens;
    server.running += 1;
    server.outstandingTokens += tokens;
    plan((blocks.length - found) * 10 + answerTokens * 20, () => {
      server.running -= 1;
      server.outstandingTokens -= tokens;
      conversation.turn += 1;
      const next = conversation.turn > conversation.turns ? converse : () => ask(conversation);
      plan(5_000 + random() * 10_000, next);
      serve();
    });
  };
  for (let client = 0; client < clients; client += 1) plan(random() * 5_000, converse);
  for (let event = events.shift(); event && event.at <= MINUTES * 60_000; event = events.shift()) {
    for (const server of servers) {
      server.tokenMs += server.outstandingTokens * (event.at - now);
      server.callMs += server.running * (event.at - now);
    }
    now = event.at;
    event.run();
  }
  const meanTokenMs = servers.reduce((sum, { tokenMs }) => sum + tokenMs, 0) / count;
  return {
    hitRate: blocksFound / blocksAsked,
    loads: servers.map(({ tokenMs }) => tokenMs / meanTokenMs),
    calls: servers.map(({ callMs }) => callMs / now),
  };
}

/** Numbered as chained hashes would be: the system prompt is shared, the rest is a conversation's own. */
function blocksOf({ id, system, turn }: Conversation, { systemBlocks }: Talk): number[] {
  const own = turn * TURN_BLOCKS;
  return [
    ...Array.from({ length: systemBlocks }, (_, at) => -1 - system * systemBlocks - at),
    ...Array.from({ length: own }, (_, at) => id * 1_000 + at),
  ];
}

function byScore(random: () => number): Choose {
  return (servers, blocks) =>
    pick(
      servers.map(({ index, running, outstandingTokens }): Candidate => {
        const prefixShare = index.shareOf({ blocks, whole: 0 });
        return {
          tier: 0,
          running,
          limit: PLACES,
          isLate: false,
          outstandingTokens,
          callTokens: blocks.length * BLOCK_TOKENS * (1 - prefixShare) + 200,
          tokensPerSecond: 1_000,
          kvCacheUsage: undefined,
          prefixShare,
          isSessionHome: false,
          price: undefined,
        };
      }),
      USUAL_WEIGHTS,
      random,
    );
}

function inTurn(): Choose {
  let last = -1;
  return (servers) => {
    for (let step = 1; step <= servers.length; step += 1) {
      const at = (last + step) % servers.length;
      if (servers[at]!.running >= PLACES) continue;
      last = at;
      return at;
    }
    return undefined;
  };
}

for (const count of [2, 4]) {
  test(`over ${count} back ends: half as many hits again as in turn, and no more than its part for any`, () => {
    for (const seed of [1, 2, 3]) {
      const routed = play(byScore(seededRandom(seed)), count, seed);
      const turned = play(inTurn(), count, seed);
      const told = `${routed.hitRate} against ${turned.hitRate}, ${routed.loads.join(' ')}`;
      assert.ok(routed.hitRate >= 1.5 * turned.hitRate, told);
      assert.ok(Math.max(...routed.loads) <= 1.25, told);
      assert.ok(Math.min(...routed.calls) >= 8, routed.calls.join(' '));
    }
  });
}

test('one beginning that all prompts share makes no back end the place for all of them', () => {
  for (const count of [2, 4]) {
    const { loads, hitRate } = play(byScore(seededRandom(5)), count, 5, { systems: 1, systemBlocks: 60 });
    assert.ok(Math.max(...loads) <= 1.25, loads.join(' '));
    assert.ok(hitRate > 0.8, `${hitRate}`);
  }
});
