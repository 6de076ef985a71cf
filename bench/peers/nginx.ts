// Starts nginx as a plain proxy in front of one server: the limit of what a gateway could cost. One process, nothing
// buffered, nothing logged, connections kept on both sides. It must never read or write the machine's own nginx folders.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../gateway/test/e2e/harness.ts';
import { scratchFolder } from '../scratch.ts';
import { type Program, startProgram } from './program.ts';

/** Debian has it where users' shells do not look. */
const COMMANDS = ['nginx', '/usr/sbin/nginx'];

/** The program and its version, such as 1.22.1. Throws if this machine has none. */
export function findNginx(): { command: string; version: string } {
  for (const command of COMMANDS) {
    const { stderr, error } = spawnSync(command, ['-v'], { encoding: 'utf8' });
    if (!error) return { command, version: /nginx\/([\w.]+)/.exec(stderr)?.[1] ?? 'unknown' };
  }
  throw new Error('This benchmark compares with nginx, which is not here: install the package "nginx".');
}

/** `upstream`: the server's host and port. */
export async function startNginx(upstream: string): Promise<Program> {
  const folder = scratchFolder();
  const port = await freePort();
  const config = join(folder, 'nginx.conf');
  writeFileSync(config, configuration(folder, port, upstream));
  return startProgram({
    name: 'nginx',
    command: findNginx().command,
    args: ['-p', folder, '-e', join(folder, 'error.log'), '-c', config],
    port,
    readyPath: '/health',
  });
}

function configuration(folder: string, port: number, upstream: string): string {
  const ownFolders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `  ${name}_temp_path ${folder}/${name};`)
    .join('\n');
  return `
daemon off;
master_process off;
worker_processes 1;
pid ${folder}/nginx.pid;
events { worker_connections 4096; }
http {
  access_log off;
${ownFolders}
  keepalive_requests 100000000;
  upstream engine {
    server ${upstream};
    keepalive 512;
    keepalive_requests 100000000;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://engine;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }
  }
}
`;
}
