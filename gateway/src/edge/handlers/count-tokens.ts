// How many tokens a conversation has, before it is sent: by the back end that would get it, where that can count.
// It must never take a slot, nor wait long: who cannot be asked in time is estimated for, and the client is told so.
import type { Backend } from '../../core/backend.ts';
import type { ChatRequest } from '../../core/chat.ts';
import { GatewayError, toGatewayError } from '../../core/errors.ts';
import type { AccessKey, World } from '../../core/world.ts';
import { estimateCost } from '../../scheduling/cost.ts';
import { readCounted } from '../../wire/dialects/messages/request.ts';
import { retoldIn } from '../../wire/field-names.ts';
import { parseJson } from '../../wire/json.ts';
import { findModel } from '../asking/served-models.ts';
import type { BodyLimits } from '../http/body.ts';
import type { Exchange } from '../http/exchange.ts';

export interface CountTokensOptions {
  readonly bodyLimits: BodyLimits;
}

const LIMIT_MS = 5_000;

/** `POST /v1/messages/count_tokens`. Rejects with a GatewayError. */
export async function countTokens(
  exchange: Exchange,
  world: World,
  key: AccessKey,
  { bodyLimits }: CountTokensOptions,
): Promise<void> {
  const { request, names } = readCounted(parseJson(await exchange.readBody(bodyLimits)));
  const { backends, names: modelNames } = findModel(world, key, request.model);
  const letGo = world.hold?.();
  try {
    const able = backends.find((backend) => backend.countTokens && backend.load().state === 'ready');
    const named = { ...request, model: (able && modelNames?.get(able.id)) ?? request.model };
    const counted = able && (await countedBy(able, named, exchange, key.tenant));
    if (counted === undefined) exchange.setHeader('x-sluice-warning', 'estimated');
    exchange.sendJson(200, { input_tokens: counted ?? estimateCost(request).promptTokens });
  } catch (thrown) {
    throw retoldIn(names, toGatewayError(thrown), false);
  } finally {
    letGo?.();
  }
}

/** Undefined: it could not say, or not in time. */
async function countedBy(
  backend: Backend,
  request: ChatRequest,
  { id, response }: Exchange,
  tenant: string,
): Promise<number | undefined> {
  const abort = new AbortController();
  const tooLong = new GatewayError('cancelled', 'Counting took too long.');
  const timer = setTimeout(() => abort.abort(tooLong), LIMIT_MS);
  const unwatch = response.watch((reason) => abort.abort(reason));
  try {
    return await backend.countTokens!(request, { callId: id, tenant, signal: abort.signal });
  } catch (thrown) {
    // What is wrong with the request is to be told; that a back end failed at counting is no reason to refuse.
    if (thrown instanceof GatewayError && thrown.code === 'invalid_request') throw thrown;
    return undefined;
  } finally {
    clearTimeout(timer);
    unwatch();
  }
}
