// What a request says outside of its body: its priority, its deadline, its session, whether it may go on elsewhere, whether
// less will do, whether its client may come again.
import { HOPS_HEADER } from '../../core/backend.ts';
import { GatewayError } from '../../core/errors.ts';
import { PRIORITIES, type Priority } from '../../core/priority.ts';
import type { AccessKey, ServedModel } from '../../core/world.ts';
import type { ParsedRequest } from '../../wire/dialect.ts';
import type { Envelope } from '../http/envelope.ts';

const MOST_DEADLINE_MS = 24 * 60 * 60 * 1000;
const MOST_IGNORED_NAMES = 10;
/** Of a `Cache-Control`: there are not as many. */
const MOST_DIRECTIVES = 32;
/** More gateways in a row than anyone needs. */
const MOST_HOPS = 16;

/** As asked, or as its kind or its model has it, but never above what the key may have. Throws `invalid_request`. */
export function priorityOf(
  exchange: Envelope,
  request: Pick<ParsedRequest, 'calls' | 'stream'>,
  model: Pick<ServedModel, 'priority'>,
  key: AccessKey,
): Priority {
  const wanted = wantedPriority(exchange, request, model);
  const { priority: highest = wanted } = key;
  return PRIORITIES.indexOf(wanted) < PRIORITIES.indexOf(highest) ? highest : wanted;
}

/** Someone waits for a stream's next word; an array of prompts is work in bulk. */
function wantedPriority(
  exchange: Envelope,
  request: Pick<ParsedRequest, 'calls' | 'stream'>,
  model: Pick<ServedModel, 'priority'>,
): Priority {
  const asked = exchange.header('x-sluice-priority');
  if (asked === undefined) {
    if (request.calls.length > 1) return 'batch';
    return model.priority ?? (request.stream ? 'interactive' : 'standard');
  }
  const priority = PRIORITIES.find((one) => one === asked);
  if (priority) return priority;
  throw new GatewayError('invalid_request', `x-sluice-priority is one of: ${PRIORITIES.join(', ')}.`, {
    param: 'x-sluice-priority',
  });
}

/** When the first token is due, in ms from the request. */
export function deadlineOf(exchange: Envelope): number | undefined {
  const asked = exchange.header('x-sluice-deadline-ms');
  if (asked === undefined) return undefined;
  if (/^\d{1,8}$/.test(asked) && Number(asked) >= 1 && Number(asked) <= MOST_DEADLINE_MS)
    return Number(asked);
  throw new GatewayError(
    'invalid_request',
    `x-sluice-deadline-ms is a whole number from 1 to ${MOST_DEADLINE_MS}.`,
    {
      param: 'x-sluice-deadline-ms',
    },
  );
}

/** Whether an answer that loses its back end may go on elsewhere, or later. */
export function failoverOf(exchange: Envelope): boolean {
  return isOn(exchange, 'x-sluice-failover');
}

/** Whether something may be given up of the answer where there is no room for all of it. */
export function degradeOf(exchange: Envelope): boolean {
  return isOn(exchange, 'x-sluice-degrade');
}

function isOn(exchange: Envelope, name: string): boolean {
  const asked = exchange.header(name);
  if (asked === undefined || asked === 'on') return true;
  if (asked === 'off') return false;
  throw new GatewayError('invalid_request', `${name} is "on" or "off".`, { param: name });
}

/** Whether the request may be answered from what is computed or was kept for another one like it. */
export function mayShareOf(exchange: Envelope): boolean {
  const directives = exchange.header('cache-control')?.split(',', MOST_DIRECTIVES) ?? [];
  return !directives.some((one) => /^\s*no-(store|cache)\s*$/i.test(one));
}

/** Whether its client may come again for what it missed of the stream, as asked, or as its model has it. */
export function resumableOf(
  exchange: Envelope,
  { isResumable = false }: Pick<ServedModel, 'isResumable'>,
): boolean {
  const asked = exchange.header('x-sluice-resumable');
  if (asked === undefined) return isResumable;
  if (asked === '1') return true;
  if (asked === '0') return false;
  throw new GatewayError('invalid_request', 'x-sluice-resumable is "1" or "0".', {
    param: 'x-sluice-resumable',
  });
}

/** The conversation that it belongs to, by its client's name for it: where its requests go together, less is computed. */
export function sessionOf(exchange: Envelope): string | undefined {
  const asked = exchange.header('x-sluice-session');
  if (asked === undefined || /^[\x21-\x7e]{1,128}$/.test(asked)) return asked;
  throw new GatewayError(
    'invalid_request',
    'x-sluice-session is a name of 1 to 128 printable ASCII characters without spaces.',
    { param: 'x-sluice-session' },
  );
}

/** The gateways that the request has passed. Throws `loop_detected` if this one, `instanceId`, is among them. */
export function hopsOf(exchange: Envelope, instanceId: string): readonly string[] {
  const asked = exchange.header(HOPS_HEADER);
  if (asked === undefined) return [];
  // Who stands between may have written the list anew, with spaces.
  const names = asked.split(',', MOST_HOPS + 1).map((name) => name.trim());
  const hops = names.filter((name) => /^[\w-]{1,64}$/.test(name));
  if (!hops.includes(instanceId) && hops.length <= MOST_HOPS) return hops;
  throw new GatewayError(
    'loop_detected',
    'This request has been here before: a back end of this server leads back to it.',
  );
}

/** Whether the answer is to say how it came to be. */
export function reportIsWanted(exchange: Envelope): boolean {
  return exchange.header('x-sluice-report') === '1';
}

/** The value of `x-sluice-warning`. */
export function ignoredWarning(names: readonly string[]): string {
  return `ignored=${names.slice(0, MOST_IGNORED_NAMES).map(encodeURIComponent).join(',')}`;
}
