// The scripted back end keeps the contract that it stands in for.
import { FakeBackend } from '../../src/backends/fake.ts';
import { describeBackend } from './backend.ts';
import { PIECES } from './pieces.ts';

describeBackend(
  'the scripted back end',
  async (manner) => {
    const backend = new FakeBackend({
      id: 'fake',
      slots: 4,
      pieces: PIECES,
      firstPieceMs: manner === 'is silent' ? 3_600_000 : 0,
      stepMs: 1,
      stallAfterPieces: manner === 'falls silent' ? 3 : undefined,
    });
    return {
      backend,
      says: PIECES.join(''),
      kill: () => backend.kill(),
      revive: () => backend.revive(),
      close: () => backend.close(),
    };
  },
  // It says its script to the end, whatever the client's stop strings are.
  { lacks: ['stop strings'] },
);
