/**
 * The card on Load SCP Prior: what is in the chosen prior, before anything runs.
 *
 * It is a widget of its own element that is never serialised, so that the node's values stay as
 * they are without it. A subgraph's node on which the name is set has one, too.
 */
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { element } from "./elements.js";
import { content, language, LEAST_HEIGHT, LOCALE, say, STYLE } from "./prior_card_view.js";
import { allNodes, nameInputs, nameWidgets, NODE } from "./prior_names.js";

const ROUTE = "/scp_diff/prior_card";

// In pixels of the graph.
const FIRST_SIZE = [380, 340];

const LINKED = Symbol("the name comes from another node");

/** By node: its cards, by the input that each is about. */
const cards = new WeakMap();

const watched = new WeakSet();

/** What the server says of the prior of this name; {error} where it cannot. */
async function read(name) {
  if (name === LINKED) return { error: say("linked") };
  try {
    const answer = await api.fetchApi(`${ROUTE}?name=${encodeURIComponent(name)}`);
    return await answer.json();
  } catch {
    return { error: say("silent", { name }) };
  }
}

/** Call `action` after the method of this name, whether there is one already or not. */
function after(target, method, action) {
  const before = target[method];
  target[method] = function (...given) {
    const result = before?.apply(this, given);
    action();
    return result;
  };
}

/** Check all cards whenever this widget gets a value, from a person or a script. */
function watch(widget) {
  if (watched.has(widget)) return;
  watched.add(widget);
  // Some renderers store the value elsewhere, and then call this.
  after(widget, "callback", checkAll);
  let owner = widget;
  while (owner && !Object.hasOwn(owner, "value")) owner = Object.getPrototypeOf(owner);
  const inherited = owner && Object.getOwnPropertyDescriptor(owner, "value");
  if (!inherited?.set || (owner === widget && !inherited.configurable)) return;
  Object.defineProperty(widget, "value", {
    configurable: true,
    enumerable: inherited.enumerable,
    get: () => inherited.get.call(widget),
    set(value) {
      inherited.set.call(widget, value);
      checkAll();
    },
  });
}

/**
 * Nodes of HTML keep the element of an earlier node of their number: after undo, or when another
 * workflow was opened.
 */
function replaceStale(node, root) {
  if (node.graph !== app.canvas.graph) return;
  const place = `[data-node-id="${node.id}"] .scp-prior-card[data-input="${root.dataset.input}"]`;
  const mounted = document.querySelector(place);
  if (mounted && mounted !== root) mounted.replaceWith(root);
}

function makeCard(node, input) {
  // The second class asks nodes that are made of HTML for all the height that is left.
  const root = element("div", "scp-prior-card widget-expands");
  root.dataset.input = input;
  let shown;
  let said;
  let question = 0;

  function chosen() {
    const widgets = nameWidgets(node, input);
    const names = new Set(widgets.map((widget) => String(widget?.value ?? "")));
    for (const widget of widgets) if (widget) watch(widget);
    return widgets.includes(undefined) || names.size !== 1 ? LINKED : [...names][0];
  }

  async function refresh() {
    const name = chosen();
    const mine = ++question;
    if (name !== shown) root.dataset.state = "reading";
    shown = name;
    const card = await read(name);
    // The answer to an earlier question may come later than that to the last one.
    if (mine !== question) return;
    root.dataset.state = card.error ? "error" : "ready";
    const told = JSON.stringify([language(), shown, card]);
    if (told === said) return;
    said = told;
    root.replaceChildren(...content(shown, card));
  }

  function check() {
    replaceStale(node, root);
    if (chosen() !== shown) refresh();
  }

  const widget = node.addDOMWidget(`${input}_card`, "prior_card", root, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => LEAST_HEIGHT,
  });
  widget.serialize = false;
  return { widget, refresh, check };
}

function enlarge(node, least) {
  node.setSize(node.size.map((side, axis) => Math.max(side, least[axis])));
}

/** Give a node the cards of its inputs, and take away those of inputs that are no more. */
function updateCards(node) {
  const inputs = nameInputs(node);
  const made = cards.get(node) ?? new Map();
  cards.set(node, made);
  for (const input of inputs) {
    if (made.has(input)) continue;
    made.set(input, makeCard(node, input));
    enlarge(node, node.computeSize());
  }
  for (const [input, card] of made) {
    if (inputs.includes(input)) continue;
    node.removeWidget(card.widget);
    made.delete(input);
  }
}

const allCards = () => allNodes().flatMap((node) => [...(cards.get(node)?.values() ?? [])]);

function checkAll() {
  for (const card of allCards()) card.check();
}

function refreshAll() {
  for (const card of allCards()) card.refresh();
}

function update() {
  for (const node of allNodes()) updateCards(node);
  checkAll();
}

app.registerExtension({
  name: "SCP-Diff.PriorCard",
  setup() {
    document.head.append(element("style", "", STYLE));
    // A run may have written a prior of the name that is shown.
    api.addEventListener("execution_success", refreshAll);
    // The wiring of subgraphs has changed, or something that no widget told.
    api.addEventListener("graphChanged", update);
    app.ui?.settings?.addEventListener(`${LOCALE}.change`, refreshAll);
  },
  nodeCreated(node) {
    if (node.comfyClass === NODE) {
      updateCards(node);
      enlarge(node, FIRST_SIZE);
      // A workflow may be older than the card. The host would make room, but show it late.
      after(node, "onConfigure", () => enlarge(node, [0, node.computeSize()[1]]));
    } else if (!node.isSubgraphNode?.()) return;
    after(node, "onConnectionsChange", () => setTimeout(update));
    // It is not yet in a graph.
    setTimeout(update);
  },
  afterConfigureGraph: update,
  refreshComboInNodes: refreshAll,
});
