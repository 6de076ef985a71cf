// The field `response_format`, of OpenAI's dialects: the form that the answer's text must have.
// It must never look into a schema: what of it can be honoured is the back end's to say.
import { z } from 'zod';
import type { ResponseFormat } from '../core/chat.ts';
import { isNullish, isObject, optional } from './request-fields.ts';

const TYPE = 'must be text, json_object or json_schema';

/** `null` and an absent field are one. */
export const responseFormatField = optional(
  z.unknown().transform((value, context): ResponseFormat | undefined => {
    if (isNullish(value)) return undefined;
    const refuse = (path: string[], message: string) => {
      context.addIssue({ code: 'custom', path, message });
      return z.NEVER;
    };
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
    const { name, schema, strict } = inner;
    if (!isNullish(name) && typeof name !== 'string')
      return refuse(['json_schema', 'name'], 'must be a text');
    if (!isNullish(strict) && typeof strict !== 'boolean') {
      return refuse(['json_schema', 'strict'], 'must be true or false');
    }
    if (!isObject(schema)) return refuse(['json_schema', 'schema'], 'must be a JSON Schema, an object');
    return { kind: 'schema', schema, path: 'response_format.json_schema.schema', original: value };
  }),
);
