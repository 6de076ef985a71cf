// Guards a client's connection over a real socket: its requests are answered one after the other, and whatever the client does or
// leaves undone, it ends.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { serving } from './http-testing.ts';
import type { HttpListenerOptions } from './listener.ts';
import type { Request } from './request.ts';
import type { Response } from './response.ts';

const get = (path: string, ...lines: string[]) =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;
const LAST = 'Connection: close';

/** Answers with its path. */
function echo({ target }: Request, response: Response): void {
  response.begin(200, { 'content-length': target.length });
  response.end(target);
}

/** Sends the pieces, and reads until the server closes. */
async function ask(port: number, ...pieces: (string | Buffer)[]): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  for (const piece of pieces) socket.write(piece);
  return await readAll(socket);
}

async function readAll(socket: Socket): Promise<string> {
  let text = '';
  for await (const bytes of socket) text += (bytes as Buffer).toString('latin1');
  return text;
}

const bodies = (text: string) => [...text.matchAll(/\r\n\r\n([^\r]*?)(?=HTTP|$)/g)].map((match) => match[1]);
const statuses = (text: string) => [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => match[1]);

test('requests that come together are answered in their order, whoever is done first', async () => {
  const late = async (request: Request, response: Response) => {
    if (request.target === '/slow') await sleep(30);
    echo(request, response);
  };
  await serving(
    (request, response) => void late(request, response),
    async (port) => {
      const text = await ask(port, get('/slow') + get('/quick') + get('/slow') + get('/last', LAST));
      assert.deepEqual(bodies(text), ['/slow', '/quick', '/slow', '/last']);
    },
  );
});

test('only one of them is under way at a time', async () => {
  let [running, most] = [0, 0];
  await serving(
    (request, response) => {
      running += 1;
      most = Math.max(most, running);
      setImmediate(() => {
        running -= 1;
        echo(request, response);
      });
    },
    async (port) => {
      await ask(port, get('/').repeat(50) + get('/', LAST));
      assert.equal(most, 1);
    },
  );
});

test('nonsense behind a request is told behind its answer', async () => {
  await serving(echo, async (port) => {
    const text = await ask(port, `${get('/good')}NONSENSE\r\n\r\n${get('/lost')}`);
    assert.deepEqual(statuses(text), ['200', '400']);
    assert.match(text, /\/goodHTTP.*This is not HTTP\/1\.1/s);
  });
});

test('a client that sends ahead of its turn without end is not read any more, and served all the same', async () => {
  let release = () => {};
  await serving(
    (request, response) => {
      if (request.target !== '/first') return echo(request, response);
      release = () => echo(request, response);
    },
    async (port) => {
      const socket = connect(port, '127.0.0.1');
      // More than the system holds for us.
      const count = 2_500;
      socket.write(get('/first'));
      socket.write(get('/', `X-Pad: ${'x'.repeat(8_000)}`).repeat(count));
      socket.write(get('/last', LAST));
      await sleep(200);
      assert.ok(socket.writableLength > 0, 'all of it was taken');
      release();
      const text = await readAll(socket);
      assert.equal(statuses(text).length, count + 2);
      assert.match(text, /\/last$/);
    },
  );
});

test('the last answer is there for who reads it late, also where its connection closes with it', async () => {
  const long = 'x'.repeat(32 * 1024 * 1024);
  await serving(
    (_request, response) => {
      response.begin(200, { 'content-length': long.length });
      response.end(long);
    },
    async (port) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(get('/', LAST)));
      socket.pause();
      // Longer than a client is listened to after its answer.
      await sleep(2_500);
      assert.ok((await readAll(socket)).endsWith(`\r\n\r\n${long}`));
    },
  );
});

test('a head that does not come to its end has its time', async () => {
  await serving(
    echo,
    async (port) => {
      assert.match(await ask(port), /^HTTP\/1\.1 408 /, 'nothing came');
      assert.match(await ask(port, 'GET / HTTP/1.1\r\nHo'), /^HTTP\/1\.1 408 /, 'half of it came');
      assert.deepEqual(statuses(await ask(port, `${get('/')}GET /`)), ['200', '408']);
    },
    { headerTimeoutMs: 40 },
  );
});

test('a connection that is kept has no clock of a head', async () => {
  await serving(
    echo,
    async (port) => {
      const socket = connect(port, '127.0.0.1');
      socket.write(get('/one'));
      await once(socket, 'data');
      await sleep(150);
      socket.write(get('/two', LAST));
      assert.match(await readAll(socket), /^HTTP\/1\.1 200 .*\/two$/s);
    },
    { headerTimeoutMs: 40 },
  );
});

test('who works for a client is told that it leaves, before the answer and in it', async () => {
  for (const begins of [false, true]) {
    const told = Promise.withResolvers<string>();
    await serving(
      (_request, response) => {
        response.watch(({ code }) => told.resolve(code));
        response.begin(200, {});
        if (begins) response.write('some');
      },
      async (port) => {
        const socket = connect(port, '127.0.0.1', () => socket.write(get('/')));
        setTimeout(() => socket.destroy(), 30);
        assert.equal(await told.promise, 'cancelled');
      },
    );
  }
});

test('who ends its watch is told nothing of what comes later on the same connection', async () => {
  let lost = 0;
  await serving(
    (request, response) => {
      const unwatch = response.watch(() => {
        lost += 1;
      });
      echo(request, response);
      unwatch();
    },
    async (port) => {
      await ask(port, get('/'), get('/', LAST));
      assert.equal(lost, 0);
    },
  );
});

test('a connection that is taken over is nobody else’s, with all that came behind its request', async () => {
  const taken = Promise.withResolvers<[Socket, Buffer]>();
  const options: Partial<HttpListenerOptions> = {
    takesOver: ({ headers }) => headers.upgrade === 'mine',
    onTakenOver: (_request, socket, ahead) => taken.resolve([socket, ahead]),
  };
  await serving(
    echo,
    async (port) => {
      const socket = connect(port, '127.0.0.1');
      socket.write(`${get('/before')}${get('/', 'Connection: Upgrade', 'Upgrade: mine')}and more`);
      const [ours, ahead] = await taken.promise;
      assert.equal(ahead.toString(), 'and more');
      for (const event of ['data', 'end', 'drain'])
        assert.equal(ours.listenerCount(event), event === 'end' ? 1 : 0, event);
      ours.end('theirs');
      assert.match(await readAll(socket), /\/beforetheirs$/);
    },
    options,
  );
});

test('an end of all takes every connection with it', async () => {
  const sockets: Socket[] = [];
  await serving(
    () => {},
    async (port) => {
      for (const text of ['', 'GET / HT', get('/')]) {
        const socket = connect(port, '127.0.0.1').on('error', () => {});
        sockets.push(socket);
        socket.write(text);
      }
      await sleep(50);
    },
  );
  await Promise.all(sockets.map((socket) => socket.closed || once(socket, 'close')));
});
