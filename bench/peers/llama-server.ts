// llama.cpp's own server as a target to compare with. It is fetched from PyPI into an environment that only benchmarks use.
import {
  type LlamaServer,
  type LlamaServerOptions,
  startLlamaServer as start,
  XLLAMACPP,
} from '../../gateway/test/engines/llama-server.ts';
import { pythonPrograms } from './python.ts';

export { XLLAMACPP };

export type PeerOptions = Omit<LlamaServerOptions, 'python'>;

/** Rejects if it did not take the options. */
export function startLlamaServer(options: PeerOptions): Promise<LlamaServer> {
  const programs = pythonPrograms({ name: 'venv-peers', requirements: [`xllamacpp==${XLLAMACPP}`] });
  return start({ ...options, python: `${programs}/python` });
}
