// Why an answer ended, in the words of many servers.
// It must never take an answer for whole that its server broke off.
// Pure.
import type { FinishReason } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';

const REASONS: Readonly<Record<string, FinishReason | 'broken'>> = {
  length: 'length',
  max_tokens: 'length',
  max_length: 'length',
  max_output_tokens: 'length',
  model_length: 'length',
  content_filter: 'content_filter',
  safety: 'content_filter',
  sensitive: 'content_filter',
  recitation: 'content_filter',
  prohibited_content: 'content_filter',
  tool_calls: 'tool_calls',
  tool_call: 'tool_calls',
  tool_use: 'tool_calls',
  function_call: 'tool_calls',
  abort: 'broken',
  aborted: 'broken',
  cancelled: 'broken',
  canceled: 'broken',
  error: 'broken',
  network_error: 'broken',
  insufficient_system_resource: 'broken',
};

/**
 * Undefined: it has not ended. A word that nobody knows (`eos`, `end_turn`) means that the model had said all. Throws
 * `backend_failed` where the server says that it gave up in the middle.
 */
export function finishReasonOf(value: unknown): FinishReason | undefined {
  if (value === null || value === undefined || value === '' || value === 'null') return undefined;
  const word = String(value).toLowerCase();
  const reason = Object.hasOwn(REASONS, word) ? REASONS[word]! : 'stop';
  if (reason !== 'broken') return reason;
  throw new GatewayError('backend_failed', 'The back end broke off its answer.');
}
