// Where a case is played: a whole server before faulty upstreams, all on loopback, all ended with the case. Whatever was
// played, the back ends' keys must be in no answer and in no log, and no key of a client's may reach a back end.
import assert from 'node:assert/strict';
import { metric, type Sluice, startSluice, waitUntil } from '../e2e/harness.ts';
import { startInProcess } from '../in-process.ts';
import { startUpstream, type Upstream } from '../upstream/faulty-upstream.ts';
import { type Answer, readAnswer } from './answer.ts';
import type { CaseRequest } from './cases.ts';
import { type Asked, ask, type RawAnswer } from './client.ts';

/** What a case presumes. */
export interface Setup {
  /** By id, what is particular of each; default: one of the kind `generic`. */
  readonly backends?: { readonly a: object; readonly b?: object | undefined } | undefined;
  /** Default `case`. */
  readonly model?: string | undefined;
  /** Ids, or lists of them; default: each back end is a tier of its own. */
  readonly tiers?: readonly (string | readonly string[])[] | undefined;
  /** The name or address under which the upstreams are configured; default 127.0.0.1. */
  readonly host?: string | undefined;
  /** More of the configuration file. */
  readonly config?: object | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
}

interface Server {
  readonly url: string;
  readonly port: number;
  log(): string;
  close(): Promise<void>;
}

export interface Stage {
  readonly url: string;
  /** The first back end's upstream. */
  readonly a: Upstream;
  /** The second's; it listens whether the setup has one or not. */
  readonly b: Upstream;
  ask(request: CaseRequest): Asked;
  /** Asks, and reads the whole answer. */
  answer(request: CaseRequest): Promise<Answer>;
  /** Reads what another request of this stage brought. */
  read(asked: Asked): Promise<Answer>;
  /** A metric without labels, or with those given as text. */
  metric(name: string): Promise<number>;
  /** Resolves when the metric has the value; rejects after 10 s. */
  metricIs(name: string, value: number): Promise<void>;
}

/** A stage whose server is a process of its own. */
export interface ProcessStage extends Stage {
  readonly sluice: Sluice;
}

const LIMIT_MS = 10_000;

/** Plays on a server in this process. */
export async function withStage(setup: Setup, play: (stage: Stage) => Promise<void>): Promise<void> {
  await withUpstreams(async (a, b) => {
    const server = await startInProcess(configOf(setup, a, b), setup.env);
    await perform(setup, { server, a, b }, play);
  });
}

/** Plays on a server in a process of its own: for cases that measure it, or that end it. */
export async function withProcess(setup: Setup, play: (stage: ProcessStage) => Promise<void>): Promise<void> {
  await withUpstreams(async (a, b) => {
    const sluice = await startSluice({ config: configOf(setup, a, b), env: setup.env ?? {} });
    await performOn(sluice, setup, a, b, play);
  });
}

/** Plays on the embedded engine with two slots, in a process of its own; the upstreams stay idle. */
export async function withEngine(
  modelFile: string,
  play: (stage: ProcessStage) => Promise<void>,
): Promise<void> {
  await withUpstreams(async (a, b) => {
    const sluice = await startSluice({ args: ['--model', modelFile], config: { engine: { batch_size: 2 } } });
    await performOn(sluice, {}, a, b, play);
  });
}

/** The configuration of a setup whose upstreams are these. */
export function configOf(setup: Setup, a: Upstream, b: Upstream): object {
  const { backends = { a: {} }, model = 'case', host = '127.0.0.1' } = setup;
  const ports: Readonly<Record<string, number>> = { a: a.port, b: b.port };
  const ids = Object.keys(backends);
  return {
    backends: Object.entries(backends).map(([id, own]) => ({
      id,
      url: `http://${host}:${ports[id]}/v1`,
      kind: 'generic',
      api_key: secretOf(id),
      ...own,
    })),
    models: [{ id: model, backends: setup.tiers ?? ids }],
    ...setup.config,
  };
}

/** A back end's key. */
export function secretOf(id: string): string {
  return `sk-secret-of-the-back-end-${id}`;
}

async function withUpstreams(use: (a: Upstream, b: Upstream) => Promise<void>): Promise<void> {
  const a = await startUpstream();
  const b = await startUpstream();
  try {
    await use(a, b);
  } finally {
    await Promise.all([a.close(), b.close()]);
  }
}

interface Players {
  readonly server: Server;
  readonly a: Upstream;
  readonly b: Upstream;
}

function performOn(
  sluice: Sluice,
  setup: Setup,
  a: Upstream,
  b: Upstream,
  play: (stage: ProcessStage) => Promise<void>,
): Promise<void> {
  const server = { url: sluice.url, port: sluice.port, log: sluice.output, close: sluice.stop };
  return perform(setup, { server, a, b }, (stage) => play({ ...stage, sluice }));
}

async function perform(
  { backends = { a: {} } }: Setup,
  { server, a, b }: Players,
  play: (stage: Stage) => Promise<void>,
): Promise<void> {
  const answers: RawAnswer[] = [];
  const stage: Stage = {
    url: server.url,
    a,
    b,
    ask: (request) => {
      const asked = ask(server.port, request);
      asked.answer.then(
        (raw) => answers.push(raw),
        // Who left, or was cut, has read nothing to look at.
        () => {},
      );
      return asked;
    },
    answer: (request) => stage.read(stage.ask(request)),
    read: async ({ answer }) => readAnswer(await answer),
    metric: (name) => metric(server.url, name),
    metricIs: async (name, value) => {
      let seen = Number.NaN;
      await waitUntil(
        async () => {
          seen = await metric(server.url, name);
          return seen === value;
        },
        LIMIT_MS,
        () => `${name} is ${seen}, not ${value}`,
      );
    },
  };
  try {
    await play(stage);
    for (const id of Object.keys(backends)) {
      assertSecret(id, id === 'a' ? a : b, answers, server.log());
    }
  } finally {
    await server.close();
  }
}

function assertSecret(id: string, upstream: Upstream, answers: readonly RawAnswer[], log: string): void {
  const secret = secretOf(id);
  for (const { headers, text } of answers) {
    assert.ok(!text.includes(secret), "a back end's key is in an answer");
    assert.ok(!JSON.stringify(headers).includes(secret), "a back end's key is in a header");
  }
  assert.ok(!log.includes(secret), "a back end's key is in the log");
  for (const { headers } of upstream.requests) assert.equal(headers.authorization, `Bearer ${secret}`);
}
