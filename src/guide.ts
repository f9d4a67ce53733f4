import packageFile from '../package.json' with { type: 'json' };
import type { Guide } from './platform/http/openapi.ts';
import { recordKinds } from './records/record.ts';
import { definitionOf } from './records/table.ts';

const description = `
Push the customers, orders, refunds and returns of a shop, and read back which customers stay and what they are worth.
GraphQL at \`/graphql\` has the same operations.

## Start here

Every call needs a bearer token. On a service that issues its own tokens:

\`\`\`sh
TOKEN=$(npm run -s token -- --scope "*")
curl http://127.0.0.1:3000/v1/orders \\
  -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
  -H 'Idempotency-Key: order-536365' \\
  -d '{
    "source": "shop", "externalId": "536365", "placedAt": "2026-03-01T08:26:00Z",
    "customer": { "externalId": "17850", "email": "ada@example.org" },
    "currency": "EUR", "total": 1530, "paymentStatus": "paid",
    "items": [{ "sku": "85123A", "quantity": 6, "total": 1530 }]
  }'
curl 'http://127.0.0.1:3000/v1/metrics/average-order-value?from=2026-03-01&to=2026-04-01' -H "Authorization: Bearer $TOKEN"
\`\`\`

The order created its customer. Import the history of a shop as a file: \`POST /v1/imports?kind=orders\` takes NDJSON or CSV of any length.

## Tokens and scopes

Tokens are JSON Web Tokens (RFC 9068), issued by a provider or by the service itself: a client (\`/v1/clients\`) exchanges its id and secret for one
at \`POST /oauth/token\` (client credentials, RFC 6749). Each operation needs one scope
(\`x-scope\`); \`*\` grants all. 401: no valid token. 403: a scope is missing, and \`scope\` says which one.
Without \`customers:pii\`, names, identities, addresses, birthdays, attributes and free text are \`null\`, and you cannot
filter, search or sort by them.

## Amounts, times, ids

- Amounts are integers in **minor units** of the record's \`currency\`: 1530 GBP is £15.30, 1530 JPY is ¥1530, 1530 KWD is
  KD 1.530. Quantities may be fractional; a unit price is a decimal string.
- **Revenue** of an order is \`total − tax\`, less its refunds without their tax. Amounts of refunds are gross, as shops send them. A refund
  may say its \`tax\`; otherwise its share is estimated (\`taxEstimated\`), so that refunding everything leaves exactly 0. Send the total that
  the order was placed with: a shop's 'current total' is already reduced by its refunds, and would be reduced twice.
- **Refunds** have references of their own, and name their order by \`orderId\` or \`order\`. One that comes before its order is kept (202,
  \`status: waiting\`), counts nowhere, and is applied with the order. If it does not fit the order then, it stays \`refused\` with a
  \`refusedReason\`, and the order is kept; send it again to have it tried again. Items name their lines by \`externalId\`, \`line\`
  (the position in the order's \`items\`, from 0) or \`sku\`.
- If a shop deletes a customer, erase the customer (\`POST /v1/customers/{id}/erase\`) or do nothing: a customer with orders cannot be deleted.
- Metric values are unrounded numbers; \`unit\` says what they count. No data is \`null\` with a \`reason\`, never 0.
- Instants are RFC 3339 with any offset, answered in UTC; calendar dates are \`YYYY-MM-DD\`.
- Ids are UUIDs made by the service. A **reference** is the id of a record in another system, \`{ source, externalId }\`:
  \`/v1/orders/external/shop/536365\` is the order of the example, and works wherever \`/v1/orders/{id}\` does.

## Writing safely

- **null** for an optional member or argument means 'not given'. In PATCH it clears. One exception: \`customer: null\` of an order says that
  nobody is known (point of sale, draft). Such an order counts in order averages and revenue, and is never a buyer; name the customer later
  with PUT, PATCH or a batch, and it moves. Leaving \`customer\` out is refused.
- **An unusable e-mail, phone or SKU** of an order, return, interaction or lead is left out with a warning: the record is
  not lost. Currencies are taken in any case, also those that were withdrawn since 1999.
- **Idempotency-Key**: send one with every POST, and the same one when you retry. The retry gets the response of the first call,
  byte for byte, with \`Idempotency-Replayed: true\`. The same key with another payload is 422; while the first call is still
  running, 409. Keys are kept for 48 hours; a refused request does not use up its key.
- **PUT by reference** creates or replaces a record, and may be repeated. With \`sourceVersion\` (a counter or an instant), a
  message that is not newer than the stored one changes nothing: \`200\` with \`applied: false\`, and the warning
  \`source_version_not_newer\` if its content differs. A deleted reference stays deleted, unless you send \`restore=true\`.
- **Versions**: every record has a \`version\` and an \`ETag\`. PATCH and DELETE need \`If-Match\`: 428 without it, 412 if the
  record has changed since then. GET answers 304 to \`If-None-Match\`.
- **Dry run**: \`?dryRun=true\` validates, returns what would be the result and writes nothing.
- **Batches** are upserts in index order. The status is 200, with a result per item; \`atomic=true\` writes all items or none.

## Orders of shops

What shops send, and what to send here. Upload exchange rates before the orders. \`sourceVersion\` is the time of the shop's update.

- **Shopify**: \`total\` is \`total_price\`, not \`current_total_price\`, in the shop's currency. The amount of a refund is the sum of its
  successful refund transactions; shipping and its tax are among its \`order_adjustments\`, as negative amounts. \`refunded\` and
  \`partially_refunded\` mean that it was \`paid\`. A draft and the order that it becomes have two ids: give drafts a \`source\` of their own, and
  delete the draft when it is completed. A gift card that is bought is a line; one that is paid with is a means of payment, not a discount.
- **WooCommerce**: totals of lines are without tax, so send \`taxIncluded: false\`, and the cent that is left as \`rounding\`. Negative
  \`fee_lines\` are a \`discount\`. A refund has the currency of its order. Times named \`_gmt\` need a \`Z\`. A \`checkout-draft\` is an order with
  \`customer: null\`: send it again with its customer. Failed orders count, unless you ask with \`payment=paid\`.
- **Magento**: leave out rows with a \`parent_item_id\`. The total of a row is \`row_total\` less \`discount_amount\` plus
  \`discount_tax_compensation_amount\`. Add gift cards and store credit back to \`grand_total\`. \`exchangeRate\` is 1 ÷ \`base_to_order_rate\`. An
  adjustment has no tax: send \`tax: 0\` with that refund.

## Who is who

- A **reference** decides who a customer is; then an **e-mail**; a **phone** only where a message has neither. Two references of one source are
  two customers, even with one e-mail.
- An e-mail or phone identifies one customer. Others may carry it as \`shared\`, with a warning: nobody is found by it.
- A **visitor** known by a reference alone, without an order, who gives a known e-mail is merged into that customer.
  \`POST /v1/customers/{id}/unmerge\` undoes it, and it is not done again by itself.
- \`GET /v1/customers/duplicates\` lists pairs who may be one. POST \`merge.body\` to \`merge.accept\` to merge them, or both ids to
  \`/v1/customers/duplicates/dismiss\`.

## Lists

\`{ "data": [ … ], "page": { "next": "…", "hasMore": true } }\`: ask again with \`after\` set to \`next\` (or follow the \`Link\`
header) until \`hasMore\` is false. \`limit\` is 1 to 100 (default: 25); \`sort=-placedAt\` descends; \`count=true\` adds
\`page.total\`. \`attributes.color=red\` and \`tag=gift\` filter by what you keep with records (GraphQL:
\`attributes: { color: "red" }\`). A cursor belongs to its list, filters, order and client. Unknown parameters are refused, never
ignored.

## Changes

\`GET /v1/events?wait=20\` is the feed of all changes: follow it to keep another system up to date. It tells every change once it is committed, in
the order of the versions of each record, and skips nothing, however many write at the same time. To start with what there is:

1. \`GET /v1/events/position\`.
2. Read the lists you need, page by page.
3. \`GET /v1/events?after={position}&include=record\`, then \`after={page.next}\` for good. For an event with \`current\`, keep that if its \`version\` is
   not lower than what you have. For \`deleted\` and \`merged\`, remove what has the id of \`record\`.

Store \`page.next\` together with what you made of the page: a reader that is killed goes on from there, and what it reads twice changes
nothing. Events are kept for 90 days (\`RAPPORT_EVENTS_KEPT_DAYS\`); an older cursor is 410 \`cursor_expired\`: begin anew. Events hold names
of members, never values.

## Webhooks

\`POST /v1/webhooks\` with a URL has the same events sent to you as they happen, signed by [Standard Webhooks](https://www.standardwebhooks.com):
verify \`webhook-signature\` with one of its libraries and the secret that the call answers, which is shown only once.

- Answer 2xx within 15 seconds, before you do the work. Anything else is tried again after 5 seconds, 20, 80 and so on up to half a day, each
  ±25 %, for three days. When nothing gets through, further events wait, and one a minute is tried. 410 disables the webhook. Redirects are not followed, and your answer is not read.
- **An event comes at least once.** \`webhook-id\` is the id of the event in every attempt: keep those that you have had, or compare \`record.version\`.
- **Order.** Events of one customer are sent one after the other, in the order of the feed. One that fails does not hold up those that follow, so it may
  come after them: keep what has the higher \`version\`. Customers are independent of each other. Where the order must be exact, read the feed.
- **What it may hear** is what the token that made it may read: kinds by its scopes, members by its masks, customers by the rules of its partner,
  looked at anew at every attempt. It stops when its client is disabled, or loses \`events:read\`. It does not stop when only the client's
  tokens are revoked: after a leak, look at \`GET /v1/webhooks?client=…\` as well.
- \`include: ["record"]\` sends the record along as \`current\`: personal data, if the token had \`customers:pii\`.
- \`…/rotate-secret\`: both secrets sign until the overlap ends (a day by default). \`…/test\` sends an event. \`…/deliveries?outcome=failed\` is what was not
  taken; \`…/resend\` sends one again. Deliveries are kept for 30 days after the last attempt.

## Files

\`POST /v1/imports?kind=orders\` with NDJSON or CSV as its body, gzipped or not, is written line by line in the background, by the rules of
batches: read \`GET /v1/imports/{id}\` until its \`status\` is \`finished\`, and \`…/errors\` for what was refused. A file can be sent again.
\`GET /v1/exports/{kind}\` streams all records that the list of the kind has, as of one instant; its header \`Events-After\` is the position for
\`GET /v1/events\` from which to follow the changes since.

## Errors

\`application/problem+json\` (RFC 9457). Programs rely on \`code\`, which is stable. \`errors\` says where the fault is: a JSON
Pointer into the body, or the name of a parameter. At most 100 faults are told; with \`moreErrors: true\`, there may be more. Once a batch
has 1,000 faults, only the first of each further item is told.

\`\`\`json
{
  "type": "urn:rapport:problem:invalid_input", "title": "The input is invalid", "status": 422,
  "detail": "/items/0/total: Required.", "instance": "0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90", "code": "invalid_input",
  "errors": [{ "pointer": "/items/0/total", "code": "required", "message": "Required." }]
}
\`\`\`

## Limits

\`RateLimit-Policy\` says how many requests a client may make in a second, \`RateLimit\` how many are left; beyond that the status is 429,
with \`Retry-After\`. Bodies have at most 1 MB, batches 16 MB (on both doors); 64 levels, 5,000 members in an
object, 10,000 elements in an array and two million values. If the database cannot be reached, the status is
503, with \`Retry-After\`: repeat the call with the same Idempotency-Key.
`.trim();

/** What each part of the addresses is about, where the definition of a record kind does not say enough. */
const sections: Readonly<Record<string, string>> = {
  customers:
    'People and companies: who they are, how to reach them, what other systems call them, and their single view.',
  consents: 'What customers have agreed to and taken back, by purpose and channel, with evidence and history.',
  orders: 'Orders with their items. An order finds or creates its customer; its status is derived.',
  refunds: 'Money given back for an order, in part or in full, also before the order has come.',
  returns: 'Returns that name no order: they lower the net revenue of the customer on their own date.',
  interactions:
    'Every contact with a customer, on whatever channel: filtered by what it was, and searched by its words.',
  segments:
    'Named groups of customers: by a tree of conditions, which decides anew each time, or as a list. The same trees search customers (`POST /v1/customers/search`).',
  campaigns: 'Marketing campaigns that interactions and orders name, and what each of them brought and cost.',
  leads:
    'Customers in a lifecycle, from subscriber to customer and former: where they stand, whose they are, how ready to buy.',
  'lead-stage-changes': 'Every step of every lead: when, from where to where, by whom or which rule.',
  'lead-rule-sets':
    'What makes the score of a lead: versioned rules that are drafted, tried on the real leads, and published.',
  'lead-models':
    'Learned lead scores: trained on the leads of the service, with what they are worth on leads they have not seen.',
  'assignment-rules': 'Who gets new leads and follow-ups: in turn, by key, or whoever has least to do.',
  assignments: 'The history of who was given what, when and by which rule.',
  'follow-ups':
    'Retention and prevention events, and detractors to call back: tasks about a customer, each with an owner and a due date.',
  loyalty: 'Loyalty programmes with versioned rules, their members, the ledger of points, tiers and rewards.',
  surveys:
    'Surveys and their questions: versions, scales, when they are asked. What was answered never changes its meaning.',
  'survey-invitations':
    'Who is to be asked, and when: made by triggers or by hand, handed out once, and nobody is asked too often.',
  'survey-links': 'What the links of invitations lead to, without a login: the questions, and one answer.',
  'survey-responses':
    'What customers answered, and which order, product, contact, member of staff or process it was about.',
  partners: 'Who works with some of the customers: what is shared with them and why, and what they may see of it.',
  'partner-fields': 'The members of documents that partners may be allowed to see.',
  'exchange-rates': 'Rates of the day, by which amounts of other currencies are valued in the base currency.',
  'retention-rules': 'What is kept for how long, and what goes then: every night, by hand, or tried without doing it.',
  'retention-runs': 'Applications of retention rules: how far they are and what they removed.',
  clients: 'Programs that get their tokens from this service: what they may do, their secrets, and how to stop them.',
  'revoked-tokens': 'Tokens that are refused although they have not expired.',
  'signing-keys': 'The keys that sign tokens: made, published before they sign, replaced and revoked.',
  events: 'Every change of every record, in order and without gaps, for systems that follow this one.',
  webhooks:
    'Changes are sent to your address as they happen, signed by [Standard Webhooks](https://www.standardwebhooks.com), until it has taken them.',
  'audit-entries': 'Who changed or read what, when and from where. Names of members only, never their values.',
  metrics: 'Who stays, who comes back, and what they are worth. Every answer carries its definition, period and parts.',
  imports: 'Files of records that are written in the background, line by line, by the rules of single writes.',
  exports: 'All records of a kind as one stream, as of one instant.',
  'import-mappings': 'Which columns of a file are which members of a record, kept under a name.',
};

export const guide: Guide = {
  title: 'Rapport',
  version: packageFile.version,
  summary: packageFile.description,
  description,
  merging: ['customers', 'leads'],
  get sections() {
    const others = recordKinds()
      .filter(({ plural }) => !(plural in sections))
      .map(({ plural, table, output }) => [plural, output.meta()?.description ?? `${definitionOf(table).label}.`]);
    return { ...sections, ...Object.fromEntries(others) };
  },
};

/** What GraphiQL shows at first. */
export const firstQuery = `# Ctrl-Enter runs, Ctrl-Space completes.
# The book on the left has the documentation.
{
  customers(first: 5) {
    nodes {
      id
      name
      orders(first: 3) {
        nodes {
          placedAt
          total
          currency
          status
        }
      }
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
  metrics {
    retentionRate {
      value
      numerator
      denominator
      reason {
        message
      }
    }
  }
}
`;
