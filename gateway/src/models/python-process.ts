// Runs the user's own Python for the wheel source: pip, and the unpacking of an archive.
// It never goes through a shell, never looks for modules in the current folder of the user, and leaves no process behind.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import type { Environment } from './home.ts';
import { systemCode } from './model-store-error.ts';

const KEPT_ERROR_CHARS = 8_192;

export interface PythonOptions {
  /** The interpreter and its first arguments. */
  readonly python: readonly string[];
  readonly args: readonly string[];
  /** The process's whole environment. */
  readonly env: Environment;
  /** An empty folder of ours: `python3 -m` imports from the current one first. */
  readonly cwd: string;
  /** Kills the process. */
  readonly signal: AbortSignal;
}

export interface PythonProcess {
  readonly stdout: Readable;
  /**
   * Settles when the process is gone and its output is read. `isMissing`: there is no such interpreter. Never rejects:
   * who aborts knows that it did.
   */
  readonly ended: Promise<{
    readonly code: number | undefined;
    readonly errors: string;
    readonly isMissing: boolean;
  }>;
}

/** What the interpreter is called where nobody says otherwise. */
export function defaultPython(platform: NodeJS.Platform): readonly string[] {
  return platform === 'win32' ? ['py', '-3'] : ['python3'];
}

/** Starts it. `stdout` must be read, or the process stands still. */
export function startPython(options: PythonOptions): PythonProcess {
  const [command = 'python3', ...first] = options.python;
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
  const ended = new Promise<{ code: number | undefined; errors: string; isMissing: boolean }>((resolve) => {
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
  return { stdout: child.stdout, ended };
}
