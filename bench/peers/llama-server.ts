// llama.cpp's own server as a target to compare with. It is fetched from PyPI into an environment of its own, which only
// benchmarks use.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import {
  type LlamaServer,
  type LlamaServerOptions,
  startLlamaServer as start,
  XLLAMACPP,
} from '../../gateway/test/engines/llama-server.ts';

export { XLLAMACPP };

export type PeerOptions = Omit<LlamaServerOptions, 'python'>;

/** Rejects if it did not take the options. */
export function startLlamaServer(options: PeerOptions): Promise<LlamaServer> {
  return start({ ...options, python: python() });
}

/** The interpreter of an environment that has the peer, made if need be. */
function python(): string {
  const folder = new URL('../../.test-parts/venv-peers', import.meta.url).pathname;
  const interpreter = `${folder}/bin/python`;
  const run = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: 'ignore' });
  if (!existsSync(interpreter)) run('python3', '-m', 'venv', folder);
  try {
    run(
      interpreter,
      '-c',
      `from importlib.metadata import version; assert version('xllamacpp') == '${XLLAMACPP}'`,
    );
  } catch {
    run(interpreter, '-m', 'pip', 'install', '--quiet', `xllamacpp==${XLLAMACPP}`);
  }
  return interpreter;
}
