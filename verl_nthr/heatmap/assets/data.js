"use strict";

const TRAINED = 1;
const EASED = 2;

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
byId("data").remove();
const { ids, texts } = data.vocabulary;
const groups = data.steps.flatMap((step) => step.groups);
const filters = byId("filters");
const fields = filters.elements;

/** What is looked at; the filters are the form's. */
const state = { shown: groups, group: null, cards: [], chosen: null, query: null, theme: "auto", view: "tokens" };

for (const step of data.steps) {
  let start = 0;
  for (const group of step.groups) {
    group.step = step;
    group.key = `${step.step}/${group.uid}`;
    for (const response of group.responses) {
      response.start = start;
      start += response.length;
    }
    group.correct = group.responses.filter((response) => response.correct).length;
    group.rate = group.correct / group.responses.length;
    group.eased = group.responses.reduce((sum, response) => sum + response.eased, 0);
    group.responses.sort((a, b) => a.correct - b.correct || a.index - b.index);
  }
}

/** A promise of the columns of a step's tokens, unpacked once; encoding.py has their order. */
function columnsOf(step) {
  step.columns ??= unpack(step.packed, step.length).finally(() => delete step.packed);
  return step.columns;
}

async function unpack(packed, length) {
  const binary = atob(packed);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const numbers = (column) => new Float32Array(buffer, 4 * length * column, length);
  return {
    token: new Uint32Array(buffer, 0, length),
    score: numbers(1),
    weight: numbers(2),
    logProb: numbers(3),
    entropy: numbers(4),
    flags: new Uint8Array(buffer, 20 * length, length),
  };
}

/** The response as its tokens spell it. */
function textOf(response, columns) {
  if (response.joined === undefined) {
    const tokens = columns.token.subarray(response.start, response.start + response.length);
    response.joined = Array.from(tokens, (token) => texts[token]).join("");
  }
  return response.joined;
}

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

function number(value) {
  if (value === null || Number.isNaN(value)) return "–";
  return String(Number(value.toPrecision(3))).replaceAll("-", "−");
}

const grouped = (value) => value.toLocaleString("en");
const counted = (value, noun) => `${grouped(value)} ${noun}${value === 1 ? "" : "s"}`;
const signed = (value) => (value >= 0 ? "+" : "−") + Math.abs(value).toFixed(2);
const withLineFeeds = (text) => text.replaceAll("\n", "↵\n");
const onOneLine = (text) => text.replaceAll("\n", "↵");
