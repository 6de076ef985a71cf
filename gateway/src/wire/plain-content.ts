// What a message's parts become where all of them are text: one text. Many templates and servers know no lists, and dialects
// whose clients always send lists would find none of these.
// Pure.
import type { ContentPart } from '../core/chat.ts';

/** With a blank line between two texts; parts of which some are no text stay as they are. */
export function plainContent(parts: readonly ContentPart[]): string | readonly ContentPart[] {
  const texts = parts.flatMap((part) => (part.type === 'text' ? part.text : []));
  return texts.length === parts.length ? texts.join('\n\n') : parts;
}
