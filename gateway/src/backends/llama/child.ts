// Entry of the engine's own process: messages in, the driver, messages out.
// It must never outlive its parent, and never decide anything that engine.ts, prompt.ts or driver.ts can decide.
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { toGatewayError } from '../../core/errors.ts';
import { Driver } from './driver.ts';
import { type Engine, loadEngine } from './engine.ts';
import { answerGrammar } from './grammar/answer-grammar.ts';
import type { EngineCall, EngineSettings, FromChild, ToChild } from './messages.ts';
import { PrefixStore } from './prefix-store.ts';
import { PromptBuilder } from './prompt.ts';
import { AnswerText } from './text.ts';
import { ThreadGovernor } from './thread-governor.ts';

// The parent is gone, however it went. Native threads may be at work: nothing gentler ends them for certain.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
// What is written here holds prompts: nobody else may read it.
process.umask(0o077);
// A terminal sends these to the whole group; when this process ends is its parent's decision.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

function post(message: FromChild): void {
  if (process.connected) process.send?.(message);
}

interface Ready {
  readonly engine: Engine;
  readonly prompts: PromptBuilder;
  readonly driver: Driver;
}
let ready: Ready | undefined;

async function load(settings: EngineSettings): Promise<void> {
  emptyFolder(settings.stateFolder);
  const engine = await loadEngine(settings, (level, message) => post({ type: 'log', level, message }));
  const prompts = new PromptBuilder(engine.chatTemplate, engine.vocabulary, engine.contextTokens);
  const prefixes = new PrefixStore({
    folder: settings.stateFolder,
    maxBytes: settings.stateBytes,
    canTruncate: engine.sequences.every((sequence) => sequence.canTruncate),
    log: (message) => post({ type: 'log', level: 'warn', message }),
  });
  const driver = new Driver({
    sequences: engine.sequences,
    prefixes,
    busySeconds: settings.busySeconds,
    isEndToken: engine.isEndToken,
    post: (step) => post({ type: 'step', ...step }),
    onStep: governed(engine, settings),
    giveUp: (reason) => die(reason),
  });
  ready = { engine, prompts, driver };
  void driver.run().catch((error: unknown) => die(describe(error)));
  post({ type: 'ready', contextTokens: engine.contextTokens, contextBytes: engine.contextBytes });
}

/** What a process before this one kept there, this one knows nothing of. Without the folder nothing can be kept: no harm. */
function emptyFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
    for (const name of readdirSync(folder)) rmSync(join(folder, name), { force: true });
  } catch (error) {
    post({ type: 'log', level: 'warn', message: `computed prefixes cannot be kept: ${describe(error)}` });
  }
}

/** Sets the threads of each step, and tells the governor what came of them. */
function governed(engine: Engine, { threads: few, mostThreads: most }: EngineSettings) {
  const ownCpuMs = (): number => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  };
  const machineCpuMs = (): number =>
    cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
  const governor = new ThreadGovernor({ few, most, now: () => performance.now(), machineCpuMs, ownCpuMs });
  return () => {
    const threads = governor.threads();
    engine.setThreads(threads);
    const before = ownCpuMs();
    return (seconds: number) => governor.computed(threads, seconds, (ownCpuMs() - before) / 1000);
  };
}

function chat(request: EngineCall): void {
  if (ready === undefined) throw new Error('A call came before the model was loaded.');
  const { engine, prompts, driver } = ready;
  const { call, tenant, prompt, sampling, stop, format, continued } = request;
  try {
    const { tokens, beginsInReasoning } = prompts.build(prompt);
    const left = engine.contextTokens - tokens.length;
    const thinking = prompts.thinks ? { beginsInReasoning } : undefined;
    const tools = prompt.kind === 'messages' ? prompt.tools : undefined;
    const { callForm: form } = prompts;
    const isSingle = tools?.isSingle ?? false;
    const constraint = format && engine.constrain(answerGrammar({ format, form, isSingle, thinking }));
    const answer = new AnswerText({
      detokenize: engine.detokenize,
      before: tokens,
      stop,
      thinking,
      calls: tools && form && { form, isSingle },
      describe: sampling.logprobs === undefined ? undefined : engine.describe,
    });
    // The client has this text: only what it leaves behind in the answer's state is wanted.
    for (const token of continued) {
      answer.push(token);
      constraint?.accept(token);
    }
    driver.add({
      call,
      tenant,
      tokens: [...tokens, ...continued],
      continued,
      sampling,
      maxTokens: Math.max(1, Math.min(left, Math.floor(request.maxTokens ?? left))),
      answer,
      constraint,
    });
  } catch (error) {
    const { code, message, param } = toGatewayError(error);
    if (code === 'internal') post({ type: 'log', level: 'error', message: describe(error) });
    const failed = { type: 'failed', call, error: { code, message, param } } as const;
    post({ type: 'step', seconds: 0, decodedTokens: 0, prefillTokens: 0, events: [failed] });
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The parent reads the last line of stderr as the reason. */
function die(reason: string): void {
  process.stderr.write(`${reason}\n`, () => process.exit(1));
}

process.on('message', (message: ToChild) => {
  switch (message.type) {
    case 'load':
      load(message.settings).catch((error: unknown) =>
        post({ type: 'load-failed', message: describe(error) }),
      );
      break;
    case 'chat':
      chat(message);
      break;
    case 'cancel':
      ready?.driver.cancel(message.call);
      break;
    case 'ping':
      post({ type: 'pong', rssBytes: process.memoryUsage.rss() });
      break;
    case 'exit':
      // Nothing is worth saving, and native destructors can hang.
      process.kill(process.pid, 'SIGKILL');
      break;
  }
});
