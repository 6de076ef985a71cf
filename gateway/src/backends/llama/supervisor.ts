// Keeps one engine process alive: forks it, asks whether it lives, ends it when it hangs or swells, starts it again.
// It must never know what a call is: whoever owns the calls is told that the process is gone.
// It must never leave a process behind.
import { type ChildProcess, fork } from 'node:child_process';
import type { Log } from '../../core/log.ts';
import type { EngineSettings, FromChild, ModelPurpose, Step, ToChild } from './messages.ts';
import { RestartPolicy } from './restart-policy.ts';

export interface SupervisorOptions {
  readonly childFile: URL;
  readonly settings: EngineSettings;
  /** Resident memory of the child above which it is restarted, in bytes; from what the engine reported. */
  readonly memoryLimitBytes: (contextBytes: number) => number;
  readonly log: Log;
  readonly onStep: (step: Step) => void;
  /** The process is gone, or is about to be: nothing more will come of what was sent to it. */
  readonly onDown: (reason: string) => void;
  /** `state`, `reason`, or what the engine told of its model changed. */
  readonly onChange: () => void;
  readonly timing?: Partial<SupervisorTiming> | undefined;
}

export interface SupervisorTiming {
  readonly pingMs: number;
  /** Silence after which the process counts as hung. */
  readonly hungMs: number;
  /** From asking it to exit to killing it. */
  readonly exitMs: number;
}

const TIMING: SupervisorTiming = { pingMs: 2_000, hungMs: 30_000, exitMs: 2_000 };
const MOST_OUTPUT_LINE = 2_000;

/**
 * One thread for what the binding does beside JavaScript: it samples each answer's token in a task of its own, and llama.cpp
 * brings a batch's outputs into the order of its answers when they are first read (`llama_context::output_reorder`). Two tasks that
 * do that at once do it twice: then answers go on with each other's tokens, the more of them the worse. One after the other they
 * are right, and the next batch is computed after all of them.
 */
const POOL_THREADS = '1';

export type SupervisorState = 'loading' | 'ready' | 'restarting' | 'failed' | 'closed';

export class Supervisor {
  private readonly options: SupervisorOptions;
  private readonly timing: SupervisorTiming;
  private readonly policy = new RestartPolicy();
  private current: State = { name: 'loading', reason: 'the engine is loading' };
  private child: ChildProcess | undefined;
  /** What it told when it was ready last. */
  private told: Told | undefined;
  private memoryLimit = Number.POSITIVE_INFINITY;
  private lastPongAt = 0;
  private readyAt: number | undefined;
  private productive = false;
  private lastLine = '';
  /** Why this process is being killed, where we are the ones who do it. */
  private killReason: string | undefined;
  private pinger: NodeJS.Timeout | undefined;
  private restarter: NodeJS.Timeout | undefined;
  private started: PromiseWithResolvers<void> | undefined;

  constructor(options: SupervisorOptions) {
    this.options = options;
    this.timing = { ...TIMING, ...options.timing };
  }

  get state(): SupervisorState {
    return this.current.name;
  }

  /** Why it is not ready; undefined when it is. */
  get reason(): string | undefined {
    return this.current.reason;
  }

  get pid(): number | undefined {
    return this.child?.pid;
  }

  /** Window of a call in tokens; 0 before it was ever ready. */
  get contextTokens(): number {
    return this.told?.contextTokens ?? 0;
  }

  /** Calls that the engine has windows for; 0 before it was ever ready. */
  get sequences(): number {
    return this.told?.sequences ?? 0;
  }

  /** Whether the model may think aloud; false before it was ever ready. */
  get thinks(): boolean {
    return this.told?.thinks ?? false;
  }

  /** What the model is for; `chat` before it was ever ready. */
  get purpose(): ModelPurpose {
    return this.told?.purpose ?? 'chat';
  }

  /** Resolves when it is ready for the first time; rejects with one sentence when the first load fails, for good. */
  start(): Promise<void> {
    if (this.started === undefined) {
      this.started = Promise.withResolvers<void>();
      // Whoever calls start() gets the failure; nobody else has to handle it.
      this.started.promise.catch(() => {});
      this.spawn();
    }
    return this.started.promise;
  }

  send(message: ToChild): void {
    // A failure to send is a death that `exit` reports.
    if (this.child?.connected === true) this.child.send(message, () => {});
  }

  /** Ends the process at once; it is restarted like after any other death. */
  kill(reason: string): void {
    if (this.child === undefined) return;
    this.killReason ??= reason;
    this.child.kill('SIGKILL');
  }

  async close(): Promise<void> {
    clearTimeout(this.restarter);
    this.started?.reject(new Error('The engine was closed before it was ready.'));
    const { child } = this;
    this.become({ name: 'closed', reason: 'the engine is closed' });
    this.options.onDown('The engine was closed.');
    if (child === undefined) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    if (child.exitCode !== null || child.signalCode !== null) return;
    this.send({ type: 'exit' });
    const killer = setTimeout(() => child.kill('SIGKILL'), this.timing.exitMs);
    await gone;
    clearTimeout(killer);
  }

  private spawn(): void {
    const child = fork(this.options.childFile, {
      serialization: 'advanced',
      execArgv: [],
      env: { ...process.env, UV_THREADPOOL_SIZE: POOL_THREADS },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.child = child;
    this.lastLine = '';
    this.killReason = undefined;
    this.productive = false;
    this.readyAt = undefined;
    this.lastPongAt = performance.now();
    this.readLines(child);
    child.on('message', (message) => this.receive(child, message as FromChild));
    // `exit` does not follow when the process could not be started at all.
    child.once('error', (error) => {
      if (child.pid === undefined) this.died(child, `it could not be started: ${error.message}`);
    });
    child.once('exit', (code, signal) => this.died(child, this.causeOfDeath(code, signal)));
    this.pinger = setInterval(() => this.ping(), this.timing.pingMs).unref();
    this.send({ type: 'load', settings: this.options.settings });
  }

  private receive(child: ChildProcess, message: FromChild): void {
    if (child !== this.child || this.current.name === 'closed') return;
    switch (message.type) {
      case 'step':
        if (isProductive(message)) this.productive = true;
        this.options.onStep(message);
        break;
      case 'pong':
        this.lastPongAt = performance.now();
        if (message.rssBytes > this.memoryLimit) {
          this.kill(`it used ${mebibytes(message.rssBytes)} MiB, over its ${mebibytes(this.memoryLimit)}`);
        }
        break;
      case 'ready':
        this.told = message;
        this.memoryLimit = this.options.memoryLimitBytes(message.contextBytes);
        this.readyAt = performance.now();
        this.become({ name: 'ready' });
        this.started?.resolve();
        break;
      case 'load-failed':
        this.kill(`the model could not be loaded: ${message.message}`);
        break;
      case 'log':
        this.options.log(message.level, message.message);
        break;
    }
  }

  private ping(): void {
    const silentMs = performance.now() - this.lastPongAt;
    if (silentMs > this.timing.hungMs) this.kill(`it did not answer for ${Math.round(silentMs / 1000)} s`);
    else this.send({ type: 'ping' });
  }

  private died(child: ChildProcess, cause: string): void {
    if (child !== this.child) return;
    this.child = undefined;
    clearInterval(this.pinger);
    if (this.current.name === 'closed') return;
    const neverReady = this.told === undefined;
    this.options.onDown(`The engine's process ended: ${cause}.`);
    if (neverReady) {
      // The same file would fail again: whoever starts the server should see it at once.
      const sentence = `The engine could not start: ${cause}.`;
      this.become({ name: 'failed', reason: sentence });
      this.options.log('error', sentence);
      this.started?.reject(new Error(sentence));
      return;
    }
    const livedMs = this.readyAt === undefined ? 0 : performance.now() - this.readyAt;
    const delayMs = this.policy.afterDeath(performance.now(), this.productive, livedMs);
    if (delayMs === undefined) {
      const sentence = `the engine keeps dying and is not started again; the last time: ${cause}`;
      this.become({ name: 'failed', reason: sentence });
      this.options.log('error', sentence);
      return;
    }
    this.options.log('warn', `the engine's process ended: ${cause}`, { restartInMs: delayMs });
    this.become({ name: 'restarting', reason: 'the engine is restarting' });
    this.restarter = setTimeout(() => this.spawn(), delayMs).unref();
  }

  private causeOfDeath(code: number | null, signal: NodeJS.Signals | null): string {
    if (this.killReason !== undefined) return oneSentence(this.killReason);
    const how = signal === null ? `exit code ${code}` : signal;
    return this.lastLine === '' ? how : `${how} (${oneSentence(this.lastLine)})`;
  }

  /** Native code writes to the streams what it has no other way to say, also as it aborts. */
  private readLines(child: ChildProcess): void {
    for (const stream of [child.stdout, child.stderr]) {
      let rest = '';
      stream?.setEncoding('utf8');
      stream?.on('data', (data: string) => {
        const lines = (rest + data).split('\n');
        rest = (lines.pop() ?? '').slice(0, MOST_OUTPUT_LINE);
        for (const line of lines) this.sawLine(line.trim().slice(0, MOST_OUTPUT_LINE));
      });
      stream?.on('end', () => this.sawLine(rest.trim()));
      stream?.on('error', () => {});
    }
  }

  private sawLine(line: string): void {
    if (line === '') return;
    this.lastLine = line;
    this.options.log('debug', line);
  }

  private become(state: State): void {
    this.current = state;
    this.options.onChange();
  }
}

interface State {
  readonly name: SupervisorState;
  readonly reason?: string;
}

type Told = Extract<FromChild, { type: 'ready' }>;

/** Somebody has something of it. */
function isProductive({ decodedTokens, events }: Step): boolean {
  return decodedTokens > 0 || events.some(({ type }) => type === 'vector');
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}

/** For the middle of a sentence: one line, and no full stop. */
function oneSentence(text: string): string {
  return text.replace(/\s+/g, ' ').trim().slice(0, 300).replace(/\.+$/, '');
}
