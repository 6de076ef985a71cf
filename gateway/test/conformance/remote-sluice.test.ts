// A second Sluice as a remote back end keeps the contract: two gateways in a row are as good as one.
import { RemoteBackend } from '../../src/backends/remote/remote-backend.ts';
import { metric } from '../e2e/harness.ts';
import { startInProcess } from '../in-process.ts';
import { describeBackend } from './backend.ts';
import { PIECES } from './pieces.ts';

describeBackend('a remote back end that is another Sluice', async (manner) => {
  const config = {
    model_id: 'case',
    backends: [
      {
        kind: 'fake',
        pieces: PIECES,
        first_token_ms: manner === 'is silent' ? 600_000 : 0,
        token_ms: 1,
        ...(manner === 'falls silent' && { stall_after: 3 }),
      },
    ],
  };
  let server = await startInProcess(config);
  const { port } = server;
  const backend = new RemoteBackend({
    id: 'remote',
    url: `${server.url}/v1`,
    kind: 'sluice',
    firstTokenTimeoutMs: 600_000,
    answerTimeoutMs: 10_000,
    probeIntervalMs: 10_000,
    silenceLimitMs: 600_000,
    env: {},
    log: () => {},
  });
  backend.start();
  let isServing = true;
  return {
    backend,
    says: PIECES.join(''),
    kill: async () => {
      isServing = false;
      await server.close();
    },
    revive: async () => {
      server = await startInProcess(config, { SLUICE_PORT: String(port) });
      isServing = true;
    },
    held: () => (isServing ? metric(server.url, 'sluice_requests_running') : 0),
    close: async () => {
      await backend.close();
      await server.close();
    },
  };
});
