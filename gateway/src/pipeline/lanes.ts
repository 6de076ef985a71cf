// Many pieces of work, some of them at a time: whoever is free takes the next.

/**
 * Works on what `items` gives, in its order, `lanes` at a time, until there is no more or `signal` has aborted. Resolves when
 * all that was begun has ended. Rejects with the first failure, at once: to end the others, and that no more begin, is for its
 * caller, by the signal.
 */
export async function inLanes<Item>(
  items: IterableIterator<Item>,
  lanes: number,
  signal: AbortSignal,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const lane = async () => {
    // One iterator for all lanes.
    for (const item of items) {
      if (signal.aborted) return;
      await work(item);
    }
  };
  if (lanes === 1) await lane();
  else await Promise.all(Array.from({ length: lanes }, lane));
}
