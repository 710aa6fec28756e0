const CHUNK = 400;

/** Draws more tokens of a response when the button behind which they stand comes near. */
const near = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const card = state.cards.find((candidate) => candidate.more === entry.target);
      if (entry.isIntersecting && card) drawTokens(card, card.drawn + CHUNK);
    }
  },
  { rootMargin: "300px" },
);

/** Show a group, or that there is none, and one of its responses if there is such a one. */
async function show(group, responseIndex = null) {
  state.group = group;
  hideTip();
  revealRow();
  byId("group").hidden = !group;
  byId("nothing").hidden = Boolean(group);
  writeAddress();
  if (!group) return;
  const columns = await columnsOf(group.step);
  if (group !== state.group) return;
  const responses = passing(group);
  const place = `group ${grouped(state.shown.indexOf(group) + 1)} of ${grouped(state.shown.length)}`;
  byId("where").textContent = `Step ${group.step.step} · ${place}`;
  fillMarked(byId("prompt"), group.prompt);
  byId("facts").replaceChildren(...factsOf(group, responses).map((fact) => make("li", "", fact)));
  drawScale(group);
  near.disconnect();
  byId("cards").style.setProperty("--column", columnWidth(responses, columns));
  state.cards = responses.map((response) => makeCard(group, response, columns));
  state.chosen = null;
  byId("cards").replaceChildren(...state.cards.map((card) => card.element));
  byId("tokens").scrollTop = 0;
  const card = state.cards.find((candidate) => candidate.response.index === responseIndex);
  if (card) choose(card);
}

function factsOf(group, responses) {
  const facts = [`${group.correct} of ${group.responses.length} correct`];
  if (group.mixed) {
    const wrong = group.responses.filter((response) => !response.correct);
    const tokens = wrong.reduce((sum, response) => sum + response.trained, 0);
    facts.push(`τ = ${tauOf(group)}`);
    if (group.eta !== null) facts.push(`η = ${number(group.eta)}`);
    facts.push(`${grouped(group.eased)} of ${counted(tokens, "token")} of wrong responses eased`);
  } else facts.push("not mixed: NTHR changes nothing here");
  const left = group.responses.length - responses.length;
  if (left) facts.push(`${counted(left, "response")} hidden by the filters`);
  return facts;
}

function drawScale(group) {
  byId("scale").hidden = !group.mixed;
  const centre = group.tau === null ? "" : "τ ";
  byId("scale-low").textContent = `${centre}− ${number(group.saturation)}`;
  byId("scale-high").textContent = `${centre}+ ${number(group.saturation)}`;
}

const tauOf = (group) => (group.tau === null ? "−∞" : number(group.tau));

/** So wide that the longest line fits, within limits: many short responses then stand side by side. */
function columnWidth(responses, columns) {
  if (responses.some((response) => response.length > CHUNK)) return "24rem";
  const lines = responses.flatMap((response) => textOf(response, columns).split("\n"));
  const longest = lines.reduce((most, line) => Math.max(most, line.length), 0);
  return `clamp(9.4rem, ${longest} * 8.5px + 2.2rem, 24rem)`;
}

/** Fill an element with a text in which what is searched for is marked. */
function fillMarked(element, text) {
  element.replaceChildren();
  let end = 0;
  for (const match of state.query ? text.matchAll(state.query) : []) {
    element.append(withLineFeeds(text.slice(end, match.index)), make("mark", "", withLineFeeds(match[0])));
    end = match.index + match[0].length;
  }
  element.append(withLineFeeds(text.slice(end)));
}

function makeCard(group, response, columns) {
  const verdict = response.correct ? "correct" : "wrong";
  const element = make("section", `card ${verdict}`);
  element.tabIndex = -1;
  element.ariaLabel = `${verdict} response ${response.index}`;
  const head = make("h3");
  head.append(make("b", "", `${response.correct ? "✓" : "✗"} ${verdict}`), make("span", "", `#${response.index}`));
  const facts = make("p", "soft");
  const eased = `${grouped(response.eased)} of ${counted(response.trained, "token")} eased`;
  facts.append(make("span", "", `reward ${number(response.reward)}`), " ");
  facts.append(make("span", "", `advantage ${signed(response.advantage)}`), make("br"));
  const weights = columns.weight.subarray(response.start, response.start + response.length);
  const kept = weights.every((weight) => weight === 1) ? "keeps its advantage" : "its tokens are weighted";
  facts.append(response.correct ? kept : eased);
  const text = make("div", "text");
  const more = make("button");
  text.append(more);
  element.append(head, facts, text);
  if (response.text !== undefined) {
    const decoded = make("div", "text decoded");
    fillMarked(decoded, response.text);
    element.append(decoded);
  }
  const matches = state.query ? textOf(response, columns).matchAll(state.query) : [];
  const hits = Array.from(matches, (match) => [match.index, match.index + match[0].length]);
  const card = { group, response, columns, element, text, more, hits, drawn: 0, offset: 0 };
  more.addEventListener("click", () => drawTokens(card, card.drawn + CHUNK));
  drawTokens(card, 0);
  return card;
}

/** Draw the tokens up to `end`; the rest stands behind a button. */
function drawTokens(card, end) {
  const { response, more } = card;
  const tokens = document.createDocumentFragment();
  const last = Math.min(end, response.length);
  for (; card.drawn < last; card.drawn++) tokens.append(makeToken(card, card.drawn));
  more.before(tokens);
  more.hidden = card.drawn === response.length;
  more.textContent = counted(response.length - card.drawn, "more token");
  near.unobserve(more);
  if (!more.hidden) near.observe(more);
}

function makeToken(card, index) {
  const { group, response, columns } = card;
  const at = response.start + index;
  const text = texts[columns.token[at]];
  const element = make("span", "t", withLineFeeds(text) || "∅");
  element.tabIndex = -1;
  element.dataset.index = index;
  const trained = columns.flags[at] & TRAINED;
  const distance = columns.score[at] - (group.tau ?? 0);
  if (trained && (!response.correct || fields.both.checked) && !Number.isNaN(distance)) {
    element.classList.add(distance > 0 ? "above" : "below");
    const strength = group.saturation ? Math.min(1, Math.abs(distance) / group.saturation) : 0;
    element.style.setProperty("--s", strength.toFixed(3));
  }
  if (columns.flags[at] & EASED) element.classList.add("eased");
  if (!trained) element.classList.add("outside");
  if (takeHit(card, text.length)) element.classList.add("hit");
  return element;
}

/** Whether something searched for lies in the next `length` characters of the response. */
function takeHit(card, length) {
  const begin = card.offset;
  card.offset += length;
  while (card.hits.length && card.hits[0][1] <= begin) card.hits.shift();
  return card.hits.length > 0 && card.hits[0][0] < card.offset;
}
