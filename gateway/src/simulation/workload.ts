// From a bare trace to who asks for what: tenants, classes and conversations that go on are assigned by a seed, where the
// trace does not say.
// Pure: the same seed gives the same requests.
import type { Priority } from '../core/priority.ts';
import { type Random, seededRandom } from '../load/seeded-random.ts';
import { BLOCK_TOKENS } from './simulated-backend.ts';

/** A request as traces have it. */
export interface Row {
  /** From the first request, rising. */
  readonly atMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** What the client allows; absent: it does not say. */
  readonly maxTokens?: number | undefined;
  readonly tenant?: string | undefined;
  readonly priority?: Priority | undefined;
}

export interface Arrival extends Row {
  readonly tenant: string;
  readonly priority: Priority;
  /** The conversation that it belongs to. */
  readonly session: string;
  /** Names for the blocks of its prompt and, after them, of its answer: equal ones mean equal beginnings. */
  readonly blocks: readonly number[];
}

export interface WorkloadOptions {
  readonly seed: number;
  /** Who asks, where the trace does not say: each as often as the others. */
  readonly tenants: number;
  /** The part of each class, where the trace does not say; they need not add up to 1. */
  readonly mix: Readonly<Record<Priority, number>>;
  /** Of the requests, the part that goes on with a conversation of its tenant, where there is one that fits; 0 to 1. */
  readonly turns: number;
  /** Tokens that all prompts of a tenant begin with. */
  readonly systemTokens: number;
}

interface Conversation {
  readonly id: number;
  /** Of its last prompt and the answer to it. */
  tokens: number;
}

/** Conversations of one tenant that may go on: the last ones. */
const MOST_OPEN = 64;
/** More blocks than any prompt has: what a conversation's names are apart. */
const NAMES_EACH = 2 ** 20;

export function workload(rows: readonly Row[], options: WorkloadOptions): Arrival[] {
  const { seed, tenants, mix, turns, systemTokens } = options;
  const random = seededRandom(seed);
  const open = new Map<string, Conversation[]>();
  const systems = new Map<string, number>();
  let conversations = 0;
  return rows.map((row) => {
    const tenant = row.tenant ?? `tenant-${1 + Math.floor(random() * tenants)}`;
    const priority = row.priority ?? classBy(mix, random);
    const own = open.get(tenant) ?? [];
    open.set(tenant, own);
    const promptTokens = Math.max(1, row.promptTokens);
    const outputTokens = Math.max(1, row.outputTokens);
    const conversation = (random() < turns && goesOn(own, promptTokens)) || {
      id: conversations++,
      tokens: 0,
    };
    conversation.tokens = promptTokens + outputTokens;
    own.push(conversation);
    if (own.length > MOST_OPEN) own.shift();
    const system = systems.get(tenant) ?? systems.size;
    systems.set(tenant, system);
    const shared = Math.floor(systemTokens / BLOCK_TOKENS);
    const blocks = Array.from({ length: Math.floor(conversation.tokens / BLOCK_TOKENS) }, (_, index) =>
      index < shared ? -1 - (system * NAMES_EACH + index) : conversation.id * NAMES_EACH + index,
    );
    return {
      ...row,
      tenant,
      priority,
      promptTokens,
      outputTokens,
      session: `conversation-${conversation.id}`,
      blocks,
    };
  });
}

/** Takes out the longest one that a prompt of this length can be the next turn of. */
function goesOn(open: Conversation[], promptTokens: number): Conversation | undefined {
  let best: Conversation | undefined;
  for (const one of open) if (one.tokens < promptTokens && !(best && best.tokens >= one.tokens)) best = one;
  if (best) open.splice(open.indexOf(best), 1);
  return best;
}

function classBy(mix: Readonly<Record<Priority, number>>, random: Random): Priority {
  const { interactive, standard, batch } = mix;
  const at = random() * (interactive + standard + batch);
  if (at < interactive) return 'interactive';
  return at < interactive + standard ? 'standard' : 'batch';
}
