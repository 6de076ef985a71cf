// Reads the tool calls of a message, or of a piece of one, as other servers write them.
// It must never change what a model wrote: arguments that come as text stay that text, and of those that come as a value
// every integer keeps its digits.
// Pure.
import type { UpstreamCall } from './call-numbers.ts';
import { membersOf } from './upstream-json.ts';

/**
 * `isWhole`: each item is a call by itself. `exactly`: gives the same items with all digits of their integers; it is called
 * at most once, and only where arguments are a value.
 */
export function upstreamCalls(
  items: readonly unknown[],
  isWhole: boolean,
  exactly: () => readonly unknown[],
): UpstreamCall[] {
  let exact: readonly unknown[] | undefined;
  return items.map((item, at) => {
    const { id, index, function: called } = membersOf(item);
    const { name, arguments: given } = membersOf(called);
    if (typeof given === 'string') return { id, index, name, arguments: given, isWhole };
    if (given === null || given === undefined) return { id, index, name, arguments: '', isWhole };
    exact ??= exactly();
    const value = membersOf(membersOf(exact[at]).function).arguments;
    return { id, index, name, arguments: JSON.stringify(value), isWhole };
  });
}
