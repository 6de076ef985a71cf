// Starts LiteLLM's proxy with one worker in front of one server: for scale. Its environment is large and takes a minute
// and a half to make, so it is only measured when asked for.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../gateway/test/e2e/harness.ts';
import { scratchFolder } from '../scratch.ts';
import { KEY } from '../servers.ts';
import { MODEL } from '../upstream-words.ts';
import { type Program, startProgram } from './program.ts';
import { pythonPrograms } from './python.ts';

export const LITELLM = '1.106.12';
const READY_LIMIT_MS = 180_000;

/** `upstream`: the server's base URL, without a path. */
export async function startLiteLlm(upstream: string): Promise<Program> {
  const programs = pythonPrograms({
    name: 'venv-litellm',
    requirements: [`litellm[proxy]==${LITELLM}`],
  });
  const config = join(scratchFolder(), 'config.yaml');
  const params = { model: `openai/${MODEL}`, api_base: `${upstream}/v1`, api_key: 'none' };
  writeFileSync(
    config,
    // JSON is YAML too.
    JSON.stringify({
      model_list: [{ model_name: MODEL, litellm_params: params }],
      // A key is checked as elsewhere; that it is a short one matters to nobody on loopback.
      general_settings: { master_key: KEY, dangerously_permit_weak_or_unset_master_key: true },
    }),
  );
  const port = await freePort();
  const options = { config, host: '127.0.0.1', port, num_workers: 1 };
  return startProgram({
    name: 'LiteLLM',
    command: `${programs}/litellm`,
    args: Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]),
    env: { LITELLM_LOCAL_MODEL_COST_MAP: 'True' },
    port,
    readyPath: '/health/liveliness',
    readyLimitMs: READY_LIMIT_MS,
  });
}
