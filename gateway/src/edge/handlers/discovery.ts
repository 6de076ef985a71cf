// What the server says of itself: its models, whether it is well, whether it is ready.
import type { AccessKey, Readiness, ServedModel, World } from '../../core/world.ts';
import type { Standing } from '../../scheduling/quota.ts';
import { findListedModel, listedType, listModelsFor } from '../asking/served-models.ts';
import type { Exchange } from '../http/exchange.ts';

/** When a probe that was told "not yet" should ask again. */
const RETRY_SECONDS = '2';

/** `GET /v1/models`, with SiliconFlow's `type` and `sub_type` filters: every model here is one of text. */
export function sendModels(exchange: Exchange, world: World, key: AccessKey): void {
  const { query } = exchange;
  const subType = query.get('sub_type');
  const isText = (query.get('type') ?? 'text') === 'text';
  const models = listModelsFor(world, key).filter(
    (model) => isText && (subType === null || subType === listedType(model)),
  );
  exchange.sendJson(200, { object: 'list', data: models.map(modelCard) });
}

/**
 * `GET /v1/user/info`, as SiliconFlow has it: whose key it is, and what is left of the day's budget where it has one. There are no
 * accounts here, so the rest is empty.
 */
export function sendUserInfo(exchange: Exchange, { tenant }: AccessKey, { spending }: Standing): void {
  const balance = spending?.remaining.toFixed(6).replace(/\.?0+$/, '');
  exchange.sendJson(200, {
    code: 20000,
    message: 'OK',
    status: true,
    data: {
      id: tenant,
      name: tenant,
      image: '',
      email: '',
      isAdmin: false,
      balance,
      status: 'normal',
      introduction: '',
      role: '',
      chargeBalance: null,
      totalBalance: balance,
    },
  });
}

export function sendModel(exchange: Exchange, world: World, key: AccessKey, id: string): void {
  exchange.sendJson(200, modelCard(findListedModel(world, key, id)));
}

/** Alive is all that it says: a server that loads or drains is well. */
export function sendHealth(exchange: Exchange): void {
  exchange.sendJson(200, { status: 'ok' });
}

export function sendReadiness(exchange: Exchange, { state, reason, progress }: Readiness): void {
  const isReady = state === 'ready';
  if (!isReady) exchange.setHeader('retry-after', RETRY_SECONDS);
  exchange.sendJson(isReady ? 200 : 503, { status: state, reason, progress });
}

/** OpenAI's fields, and vLLM's `root` and `max_model_len`, by which clients learn who really speaks and how much fits. */
function modelCard({ id, speaker, contextWindow, licence, created, backends }: ServedModel): object {
  return {
    id,
    object: 'model',
    created,
    owned_by: 'sluice',
    root: speaker,
    parent: null,
    max_model_len: contextWindow ?? null,
    licence: licence ?? null,
    ready: backends.some((backend) => backend.load().state === 'ready'),
  };
}
