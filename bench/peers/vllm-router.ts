// Starts vllm-router, a gateway in Rust, in front of one server: the peer that is to be matched.
import { freePort } from '../../gateway/test/e2e/harness.ts';
import { type Program, startProgram } from './program.ts';
import { pythonPrograms } from './python.ts';

export const VLLM_ROUTER = '0.1.17';

/** `upstream`: the server's base URL, without a path. */
export async function startVllmRouter(upstream: string): Promise<Program> {
  const programs = pythonPrograms({ name: 'venv-peers', requirements: [`vllm-router==${VLLM_ROUTER}`] });
  const port = await freePort();
  const options = {
    host: '127.0.0.1',
    port,
    'worker-urls': upstream,
    policy: 'round_robin',
    'prometheus-port': await freePort(),
    'prometheus-host': '127.0.0.1',
    'log-level': 'warning',
  };
  return startProgram({
    name: 'vllm-router',
    command: `${programs}/vllm-router`,
    args: Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]),
    port,
    readyPath: '/health',
  });
}
