/** The token that an element belongs to: its card, element and index in the response. */
function tokenAt(target) {
  const element = target.closest?.(".card .t");
  const card = element && state.cards.find((candidate) => candidate.element.contains(element));
  return card ? { card, element, index: Number(element.dataset.index) } : null;
}

function showTip({ card, element, index }) {
  const { group, response, columns } = card;
  const at = response.start + index;
  const token = columns.token[at];
  const weight = columns.weight[at];
  const values = {
    id: String(ids[token]),
    position: `${grouped(index + 1)} of ${grouped(response.length)}`,
    score: number(columns.score[at]),
    "score − τ": group.tau === null ? "–" : number(columns.score[at] - group.tau),
    weight: number(weight),
    "log-prob": number(columns.logProb[at]),
    entropy: number(columns.entropy[at]),
  };
  const facts = make("dl");
  for (const [name, value] of Object.entries(values)) facts.append(make("dt", "", name), make("dd", "", value));
  const tip = byId("tip");
  tip.replaceChildren(make("code", "", `“${onOneLine(texts[token])}”`), facts);
  if (columns.flags[at] & EASED) {
    const effect = group.eta === null && weight === 0 ? "zeroed" : "eased";
    tip.append(make("b", "", `${effect}: its penalty is multiplied by ${number(weight)}`));
  }
  if (!(columns.flags[at] & TRAINED)) tip.append(make("b", "", "not trained on"));
  tip.hidden = false;
  const box = element.getClientRects()[0];
  const below = box.bottom + 8;
  const top = below + tip.offsetHeight < innerHeight ? below : box.top - tip.offsetHeight - 8;
  tip.style.left = `${Math.max(8, Math.min(box.left, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(8, top)}px`;
}

function hideTip() {
  byId("tip").hidden = true;
}

/** Make a response the one that `n` and `p` go on from. */
function choose(card, focus = true) {
  state.chosen?.element.classList.remove("chosen");
  state.chosen = card;
  card.element.classList.add("chosen");
  if (focus) card.element.focus();
  writeAddress();
}

function focusToken(card, index) {
  drawTokens(card, index + 1);
  choose(card, false);
  card.text.children[index].focus();
}

function moveResponse(by) {
  const at = state.cards.indexOf(state.chosen);
  const first = by > 0 ? 0 : state.cards.length - 1;
  const next = state.cards[at < 0 ? first : at + by];
  if (next) choose(next);
}

function moveToken(by) {
  const here = tokenAt(document.activeElement);
  const card = here?.card ?? state.chosen ?? state.cards[0];
  const index = here ? here.index + by : 0;
  if (card && index >= 0 && index < card.response.length) focusToken(card, index);
}

function moveEased(by) {
  const here = tokenAt(document.activeElement);
  let at = Math.max(0, state.cards.indexOf(here?.card ?? state.chosen));
  let from = here ? here.index + by : null;
  for (; state.cards[at]; at += by, from = null) {
    const { columns, response } = state.cards[at];
    let index = from ?? (by > 0 ? 0 : response.length - 1);
    for (; index >= 0 && index < response.length; index += by) {
      if (columns.flags[response.start + index] & EASED) return focusToken(state.cards[at], index);
    }
  }
}

for (const name of ["mouseover", "focusin"]) {
  byId("cards").addEventListener(name, (event) => {
    const token = tokenAt(event.target);
    if (token) showTip(token);
  });
}
for (const name of ["mouseout", "focusout"]) byId("cards").addEventListener(name, hideTip);
byId("tokens").addEventListener("scroll", hideTip);
