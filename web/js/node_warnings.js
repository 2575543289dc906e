/**
 * What a node warned of in its last run, whole, as a text on that node.
 *
 * Nodes of this pack show it to the host under a name of its own (nodes/host_models.py). The host's
 * text on nodes will not do: newer frontends take it away when the run ends, older ones read it as
 * HTML, and the second text replaces the first. A node in a subgraph tells it on the subgraph's node
 * as well, since only that may be in sight.
 */
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { element } from "./elements.js";
import { allNodes } from "./prior_names.js";

const SHOWN_AS = "scp_warnings";
const OWN_CLASSES = "SCP_";

const STYLE = `
.scp-warnings {
  box-sizing: border-box; flex: none; padding: 4px 8px; overflow-y: auto; scrollbar-width: thin;
  border-left: 3px solid var(--warning-background, #e0a030);
  background: var(--comfy-input-bg, #222); color: var(--input-text, #ddd);
  font: 12px/16px sans-serif; overflow-wrap: anywhere; user-select: text; cursor: text;
}
.scp-warnings p { margin: 0; }
.scp-warnings p + p { margin-top: 4px; }
`;

// In pixels of the graph.
const MARGIN = 10;
const LEAST_WIDTH = 260;
const MOST_HEIGHT = 200;

const NOTHING = "[]";

/** By workflow: the texts by the number of the node that told them, as a run calls it. */
const told = new WeakMap();

/** The run that goes on, and the workflow that was open when it began. */
let running = {};

/** By node: what it shows of them, and by how much it grew for that. */
const notes = new WeakMap();

const activeWorkflow = () => app.extensionManager.workflow.activeWorkflow;

/** The node of a run's number, "5:3" for node 3 in subgraph 5, after those that it is in. */
function pathTo(number) {
  const path = [];
  let graph = app.rootGraph;
  for (const id of number.split(":")) {
    const node = graph?.getNodeById(id);
    if (!node) return [];
    path.push(node);
    graph = node.subgraph;
  }
  return path;
}

function textsByNode() {
  const found = new Map();
  for (const [number, texts] of told.get(activeWorkflow()) ?? []) {
    const path = pathTo(number);
    if (!path.at(-1)?.comfyClass?.startsWith(OWN_CLASSES)) continue;
    for (const node of path) found.set(node, new Set([...(found.get(node) ?? []), ...texts]));
  }
  return found;
}

/** How high these texts are at a width, with the margins of the host around them. */
function heightOf(note, width) {
  if (note.measured?.width !== width || note.measured.said !== note.said) {
    const copy = note.root.cloneNode(true);
    copy.style.cssText = `position: absolute; visibility: hidden; width: ${width - 2 * MARGIN}px`;
    document.body.append(copy);
    const height = Math.min(copy.offsetHeight, MOST_HEIGHT) + 2 * MARGIN;
    copy.remove();
    note.measured = { width, said: note.said, height };
  }
  return note.measured.height;
}

function makeNote(node) {
  const root = element("div", "scp-warnings");
  root.style.maxHeight = `${MOST_HEIGHT}px`;
  const note = { root, said: NOTHING, grown: [0, 0] };
  notes.set(node, note);
  // A file, and a step that is undone, have the size without it.
  const serialize = node.onSerialize;
  node.onSerialize = function (data) {
    serialize?.call(this, data);
    data.size = [0, 1].map((axis) => data.size[axis] - note.grown[axis]);
  };
  return note;
}

function addWidget(node, note) {
  const height = () => heightOf(note, node.size[0]);
  note.widget = node.addDOMWidget(SHOWN_AS, SHOWN_AS, note.root, {
    serialize: false,
    hideOnZoom: false,
    margin: MARGIN,
    getMinHeight: height,
    getMaxHeight: height,
  });
  note.widget.serialize = false;
}

/** Let a node show these texts, or none. */
function show(node, texts) {
  const said = JSON.stringify([...texts]);
  if (said === (notes.get(node)?.said ?? NOTHING)) return;
  const note = notes.get(node) ?? makeNote(node);
  note.said = said;
  note.root.replaceChildren(...[...texts].map((text) => element("p", "", text)));
  if (!texts.size) {
    node.removeWidget(note.widget);
    note.widget = undefined;
    const least = node.computeSize();
    node.setSize(least.map((side, axis) => Math.max(side, node.size[axis] - note.grown[axis])));
    note.grown = [0, 0];
    return;
  }
  if (!note.widget) addWidget(node, note);
  const before = [...node.size];
  // At that width it is as high as is asked for next.
  node.setSize([Math.max(before[0], LEAST_WIDTH), before[1]]);
  node.setSize([node.size[0], Math.max(before[1], node.computeSize()[1])]);
  note.grown = note.grown.map((grown, axis) => grown + node.size[axis] - before[axis]);
}

function showAll() {
  const found = textsByNode();
  for (const node of allNodes()) show(node, found.get(node) ?? new Set());
  app.canvas.setDirty(true, true);
}

/** A node of a run tells these texts from now on. */
function tell(run, number, texts) {
  const workflow = run === running.run ? running.workflow : activeWorkflow();
  if (!told.has(workflow)) told.set(workflow, new Map());
  const known = told.get(workflow);
  if (texts.length) known.set(number, texts);
  else if (!known.delete(number)) return;
  showAll();
}

app.registerExtension({
  name: "SCP-Diff.NodeWarnings",
  setup() {
    document.head.append(element("style", "", STYLE));
    api.addEventListener("execution_start", ({ detail }) => {
      running = { run: detail.prompt_id, workflow: activeWorkflow() };
    });
    api.addEventListener("executed", ({ detail }) => {
      const shown = detail.output?.[SHOWN_AS] ?? [];
      const texts = shown.map(([, text]) => text);
      tell(detail.prompt_id, String(detail.display_node ?? detail.node), texts);
    });
    api.addEventListener("execution_error", ({ detail }) => {
      tell(detail.prompt_id, String(detail.node_id), []);
    });
  },
  // A workflow becomes the active one after its nodes are there.
  afterConfigureGraph: () => setTimeout(showAll),
});
