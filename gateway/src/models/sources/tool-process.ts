// Runs a tool of the user's own for a source: pip, Python, npm. Whatever mirror, proxy or certificate it is set up for is
// obeyed that way. It never goes through a shell, never works in the current folder of the user, and leaves no process behind.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { basename } from 'node:path';
import type { Readable } from 'node:stream';
import type { Environment } from '../home.ts';
import { systemCode } from '../model-store-error.ts';

const KEPT_ERROR_CHARS = 8_192;

export interface ToolOptions {
  /** The program and its first arguments. */
  readonly command: readonly string[];
  readonly args: readonly string[];
  /** The process's whole environment. */
  readonly env: Environment;
  /** An empty folder of ours: `python3 -m` imports from the current one first, and npm reads its settings. */
  readonly cwd: string;
  /** Kills the process. */
  readonly signal: AbortSignal;
}

export interface ToolProcess {
  readonly stdout: Readable;
  /** May be left alone: it is read here too. */
  readonly stderr: Readable;
  /**
   * Settles when the process is gone and its output is read. `isMissing`: there is no such program. Never rejects:
   * who aborts knows that it did.
   */
  readonly ended: Promise<ToolEnd>;
}

export interface ToolEnd {
  readonly code: number | undefined;
  /** The end of what it said on its standard error. */
  readonly errors: string;
  readonly isMissing: boolean;
}

/** What the interpreter is called where nobody says otherwise. */
export function defaultPython(platform: NodeJS.Platform): readonly string[] {
  return platform === 'win32' ? ['py', '-3'] : ['python3'];
}

/** The npm that started us, if one did; else the one of the path. */
export function npmCommand(env: Environment): readonly string[] {
  const script = env.npm_execpath;
  // pnpm and Yarn set it too, and take other arguments.
  return script && basename(script) === 'npm-cli.js' ? [process.execPath, script] : ['npm'];
}

/** Starts it. `stdout` must be read, or the process stands still. */
export function startTool(options: ToolOptions): ToolProcess {
  const [command = '', ...first] = options.command;
  const isWindows = process.platform === 'win32';
  const child: ChildProcessByStdio<null, Readable, Readable> = spawn(command, [...first, ...options.args], {
    cwd: options.cwd,
    env: { ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    windowsHide: true,
    // Its own group: where `python3` is a version manager's script, the true interpreter is a child of that.
    detached: !isWindows,
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    // The end of it is where the reason stands.
    errors = (errors + text).slice(-KEPT_ERROR_CHARS);
  });
  // Not the gentle signal: pip may sit in a read that no handler interrupts, and all it leaves behind is ours to remove.
  const kill = (): void => {
    if (child.pid === undefined) return;
    try {
      if (isWindows) child.kill('SIGKILL');
      else process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
    // Should somebody survive that and hold the pipes: nobody waits for it.
    child.stdout.destroy();
    child.stderr.destroy();
  };
  // A group of its own does not hear a terminal's Ctrl-C either.
  process.once('exit', kill);
  if (options.signal.aborted) kill();
  options.signal.addEventListener('abort', kill, { once: true });
  const ended = new Promise<ToolEnd>((resolve) => {
    const settle = (code: number | undefined, isMissing: boolean): void => {
      options.signal.removeEventListener('abort', kill);
      process.removeListener('exit', kill);
      resolve({ code, errors, isMissing });
    };
    child.on('error', (thrown) => {
      if (child.pid === undefined) settle(undefined, systemCode(thrown) === 'ENOENT');
    });
    child.on('close', (code) => settle(code ?? undefined, false));
  });
  return { stdout: child.stdout, stderr: child.stderr, ended };
}
