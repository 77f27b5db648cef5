// What JupyterLab loads with the package, as it is: a container of one plugin, written by hand.
//
// JupyterLab shows the live view of a widget, or an error where no kernel knows it: in each notebook that is
// opened again. This shows the page that was saved beside it then, and in a notebook that is not trusted the
// picture. It also leaves a view in place when what is saved of it changes, so that this can follow the choice.

const VIEW = "application/vnd.jupyter.widget-view+json", OURS = "application/vnd.lessonkit.view+json";

/** The renderer of the live view, with the page in its place where there is none. */
function withPage(live, registry) {
  const renderLive = live.renderModel.bind(live);
  let page = null, shown = null;

  async function showPage(model) {
    page = registry.createRenderer(model.trusted ? "text/html" : "image/png");
    live.node.textContent = "";
    live.addWidget(page);
    await page.renderModel(model);
  }

  live.renderModel = async (model) => {
    const id = model.data[VIEW]?.model_id;
    if (id && id === shown && live.widgets.length && !page) return;
    page?.dispose();
    page = null;
    if (model.trusted && id) await renderLive(model);
    shown = id;
    if (!live.widgets.length) await showPage(model);
    else live.widgets[0].disposed.connect(() => { if (!live.isDisposed) { live.show(); showPage(model); } });
  };
  return live;
}

const plugin = {
  id: "lessonkit:views",
  autoStart: true,
  activate(app) {
    globalThis.lessonkitKeepsViews = true;
    app.docRegistry.addWidgetExtension("Notebook", {
      createNew({ content: { rendermime: registry } }) {
        const createRenderer = () => withPage(registry.createRenderer(VIEW), registry);
        registry.addFactory({ safe: true, mimeTypes: [OURS], createRenderer }, -20);
      },
    });
  },
};

const module = { __esModule: true, default: plugin };    // JupyterLab looks for the mark

(globalThis._JUPYTERLAB ??= {}).lessonkit = { init() {}, get: async () => () => module };
