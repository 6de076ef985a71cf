// The form that the answer's text must have: the field `response_format` of OpenAI's dialects, and `text.format` of the
// newer one, which is the same without a level.
// It must never look into a schema: what of it can be honoured is the back end's to say.
import { z } from 'zod';
import type { ResponseFormat } from '../core/chat.ts';
import { isNullish, isObject, optional } from './request-fields.ts';

const TYPE = 'must be text, json_object or json_schema';

type Members = Readonly<Record<string, unknown>>;
type Refuse = (path: string[], message: string) => never;

/** `null` and an absent field are one. */
export const responseFormatField = optional(
  z.unknown().transform((value, context): ResponseFormat | undefined => {
    if (isNullish(value)) return undefined;
    const refuse = refusing(context);
    if (!isObject(value)) return refuse([], 'must be an object with a "type"');
    if (value.type === 'text') return { kind: 'text', original: value };
    if (value.type === 'json_object') {
      // Several servers take a schema here; to leave it out of account would break their clients' trust.
      if (isNullish(value.schema)) return { kind: 'json', original: value };
      if (!isObject(value.schema)) return refuse(['schema'], 'must be a JSON Schema, an object');
      return { kind: 'schema', schema: value.schema, path: 'response_format.schema', original: value };
    }
    if (value.type !== 'json_schema') return refuse(['type'], TYPE);
    const inner = value.json_schema;
    if (!isObject(inner)) return refuse(['json_schema'], 'must be an object with a "schema"');
    const schema = schemaOf(inner, (path, message) => refuse(['json_schema', ...path], message));
    return { kind: 'schema', schema, path: 'response_format.json_schema.schema', original: value };
  }),
);

/** `text.format`; `original` is in the words of the chat dialect. */
export const textFormatField = optional(
  z.unknown().transform((value, context): ResponseFormat | undefined => {
    if (isNullish(value)) return undefined;
    const refuse = refusing(context);
    if (!isObject(value)) return refuse([], 'must be an object with a "type"');
    const { type, ...members } = value;
    if (type === 'text') return { kind: 'text', original: { type } };
    if (type === 'json_object') return { kind: 'json', original: { type } };
    if (type !== 'json_schema') return refuse(['type'], TYPE);
    const inner = Object.fromEntries(Object.entries(members).filter(([, member]) => member !== null));
    const schema = schemaOf(inner, refuse);
    return { kind: 'schema', schema, path: 'text.format.schema', original: { type, json_schema: inner } };
  }),
);

function refusing(context: z.RefinementCtx): Refuse {
  return (path, message) => {
    context.addIssue({ code: 'custom', path, message });
    return z.NEVER;
  };
}

function schemaOf({ name, schema, strict }: Members, refuse: Refuse): unknown {
  if (!isNullish(name) && typeof name !== 'string') return refuse(['name'], 'must be a text');
  if (!isNullish(strict) && typeof strict !== 'boolean') {
    return refuse(['strict'], 'must be true or false');
  }
  if (!isObject(schema)) return refuse(['schema'], 'must be a JSON Schema, an object');
  return schema;
}
