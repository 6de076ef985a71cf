// Entry of the engine's own process: messages in, the driver, messages out.
// It must never outlive its parent, and never decide anything that engine.ts, prompt.ts or driver.ts can decide.
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import type { Usage } from '../../core/chat.ts';
import { GatewayError, toGatewayError } from '../../core/errors.ts';
import { planContinuation } from './begun-answer.ts';
import { Driver } from './driver.ts';
import { type Engine, openEngine } from './engine.ts';
import type { Constraint } from './engine-sequence.ts';
import { answerGrammar } from './grammar/answer-grammar.ts';
import { type LoadedModel, loadModel } from './load-model.ts';
import type {
  BegunAnswer,
  CallEvent,
  EngineCall,
  EnginePrompt,
  EngineSettings,
  FromChild,
  ToChild,
} from './messages.ts';
import { PrefixStore } from './prefix-store.ts';
import { PromptBuilder } from './prompt.ts';
import { AnswerText } from './text.ts';
import { TextDriver } from './text-driver.ts';
import { openTextEngine } from './text-engine.ts';
import { IDLE_LOOK_MS, ThreadGovernor } from './thread-governor.ts';

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

/** With a model that chats. */
interface ChatEngine {
  readonly engine: Engine;
  readonly prompts: PromptBuilder;
  readonly driver: Driver;
}
let chats: ChatEngine | undefined;
/** With a model that makes vectors or judges. */
let texts: TextDriver | undefined;

/** More calls than this gain nothing: texts are computed one after the other. */
const MOST_TEXT_CALLS = 8;

async function load(settings: EngineSettings): Promise<void> {
  emptyFolder(settings.stateFolder);
  const loaded = await loadModel(settings, (level, message) => post({ type: 'log', level, message }));
  if (loaded.purpose === 'chat') await loadChat(loaded, settings);
  else await loadTexts(loaded, settings);
}

async function loadChat(loaded: LoadedModel, settings: EngineSettings): Promise<void> {
  const engine = await openEngine(loaded, settings);
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
    onCompute: governed(engine, settings),
    giveUp: (reason) => die(reason),
  });
  chats = { engine, prompts, driver };
  void driver.run().catch((error: unknown) => die(describe(error)));
  const { contextTokens, contextBytes, sequences } = engine;
  post({
    type: 'ready',
    purpose: loaded.purpose,
    contextTokens,
    contextBytes,
    sequences: sequences.length,
    thinks: prompts.thinks,
  });
}

async function loadTexts(loaded: LoadedModel, settings: EngineSettings): Promise<void> {
  const engine = await openTextEngine(loaded, settings);
  const driver = new TextDriver({
    reader: engine,
    post: (step) => post({ type: 'step', ...step }),
    onCompute: governed(engine, settings),
    giveUp: (reason) => die(reason),
  });
  texts = driver;
  void driver.run().catch((error: unknown) => die(describe(error)));
  const { contextTokens, contextBytes } = engine;
  post({
    type: 'ready',
    purpose: loaded.purpose,
    contextTokens,
    contextBytes,
    sequences: Math.min(settings.sequences, MOST_TEXT_CALLS),
    thinks: false,
  });
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

/** Sets the threads of each computation, and tells the governor what came of them. */
function governed(
  engine: { setThreads(threads: number): void },
  { threads: few, mostThreads: most }: EngineSettings,
) {
  const ownCpuMs = (): number => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  };
  const machineCpuMs = (): number =>
    cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
  const governor = new ThreadGovernor({ few, most, now: () => performance.now(), machineCpuMs, ownCpuMs });
  // So that who comes to an idle engine need not wait for two more looks.
  if (most > few) setInterval(() => governor.look(), IDLE_LOOK_MS).unref();
  return (tokens: number) => {
    const threads = governor.threads(tokens);
    engine.setThreads(threads);
    const before = ownCpuMs();
    return (seconds: number) => governor.computed(tokens, threads, seconds, (ownCpuMs() - before) / 1000);
  };
}

/** A call is only sent to an engine that said what its model is for. */
function loadedFor<T>(engine: T | undefined): T {
  if (engine === undefined) throw new Error('A call came for which no model is loaded.');
  return engine;
}

function chat(request: EngineCall): void {
  const { engine, prompts, driver } = loadedFor(chats);
  const { call, tenant, prompt, sampling, stop, format, begun, maxTokens, among } = request;
  try {
    const built = prompts.build(prompt);
    const { contextTokens } = engine;
    const plan = planContinuation({
      begun,
      promptTokens: built.tokens.length,
      contextTokens,
      maxTokens,
      tokenize: (words) => prompts.continueWith(words, built),
    });
    const { continued, isPrompt } = plan;
    const tokens = [...built.tokens, ...continued];
    const thinking = prompts.thinks ? { beginsInReasoning: built.beginsInReasoning } : undefined;
    const tools = prompt.kind === 'messages' ? prompt.tools : undefined;
    const { callForm: form } = prompts;
    const isSingle = tools?.isSingle ?? false;
    const constraint = format && engine.constrain(answerGrammar({ format, form, isSingle, thinking }));
    const shown = begun?.kind === 'words' ? begun : undefined;
    const answer = new AnswerText({
      detokenize: engine.detokenize,
      before: shown ? tokens : built.tokens,
      stop,
      thinking,
      calls: tools && form && { form, isSingle },
      shown,
      describe: sampling.logprobs === undefined ? undefined : engine.describe,
    });
    // Its client has this text: only what it leaves behind in the answer's state is wanted.
    if (!shown) for (const token of continued) answer.push(token);
    if (constraint) acceptBegun(constraint, continued, begun);
    if (plan.isSpent) {
      const completionTokens = isPrompt ? 0 : continued.length;
      endAtOnce(call, answer, { promptTokens: tokens.length - completionTokens, completionTokens });
      return;
    }
    driver.add({
      call,
      tenant,
      tokens,
      continued,
      continuedIsPrompt: isPrompt,
      sampling,
      maxTokens: plan.maxTokens,
      answer,
      constraint,
      among,
    });
  } catch (error) {
    fail(call, error);
  }
}

function count(call: number, prompt: EnginePrompt): void {
  const { prompts, driver } = loadedFor(chats);
  driver.doBetween(() => {
    try {
      const promptTokens = prompts.count(prompt);
      tell([{ type: 'end', call, reason: 'stop', usage: { promptTokens } }]);
    } catch (error) {
      fail(call, error);
    }
  });
}

function fail(call: number, error: unknown): void {
  const { code, message, param } = toGatewayError(error);
  if (code === 'internal') post({ type: 'log', level: 'error', message: describe(error) });
  tell([{ type: 'failed', call, error: { code, message, param } }]);
}

/** What came without a step. */
function tell(events: readonly CallEvent[]): void {
  post({ type: 'step', seconds: 0, decodedTokens: 0, prefillTokens: 0, events });
}

/** Words need not be such as the form allows: the client may have begun them, or another back end. */
function acceptBegun(
  constraint: Constraint,
  tokens: readonly number[],
  begun: BegunAnswer | undefined,
): void {
  try {
    for (const token of tokens) constraint.accept(token);
  } catch (cause) {
    const isClients = begun?.kind === 'words' && begun.pieces === 0;
    const message = 'What there is of the answer is no beginning of the form that was asked for.';
    throw new GatewayError(isClients ? 'invalid_request' : 'backend_failed', message, {
      param: isClients ? 'messages' : undefined,
      cause,
    });
  }
}

/** The answer has all that it may have. What was held back of it is the client's still. */
function endAtOnce(call: number, answer: AnswerText, usage: Usage): void {
  const { pieces, stopped, stop } = answer.flush();
  const reason = stopped ? 'stop' : 'length';
  const { reasoningTokens } = answer;
  tell([
    ...pieces.map(({ kind, ...piece }) => ({ type: kind, call, ...piece, tokens: [] }) as CallEvent),
    { type: 'end', call, reason, stop, usage: { ...usage, reasoningTokens } },
  ]);
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
    case 'texts':
      loadedFor(texts).add(message);
      break;
    case 'count':
      count(message.call, message.prompt);
      break;
    case 'cancel':
      chats?.driver.cancel(message.call);
      texts?.cancel(message.call);
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
