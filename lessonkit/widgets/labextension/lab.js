// What JupyterLab loads with the package, as it is: a container of one plugin, written by hand.
//
// JupyterLab shows the live view of a widget, or an error where no kernel knows it: in each notebook that is
// opened again. This shows the page that was saved beside it then, and in a notebook that is not trusted the
// picture. It also leaves a view in place when what is saved of it changes, so that this may follow.

const VIEW = "application/vnd.jupyter.widget-view+json", OURS = "application/vnd.lessonkit.view+json";

const PATIENCE = 1500;                                   // ms until nobody is taken to know the view

const later = () => new Promise((done) => setTimeout(done, PATIENCE));

/** The page of a widget in its renderer; `view()` is the live view beside it, if there is one. */
function pageIn(live, registry) {
  let page = null;
  const clear = () => { page?.dispose(); page = null; };
  return {
    clear,
    shown: () => page !== null,
    view: () => live.widgets.find((one) => one !== page),
    async show(model) {
      clear();
      page = registry.createRenderer(model.trusted ? "text/html" : "image/png");
      live.node.textContent = "";
      live.addWidget(page);
      live.show();
      await page.renderModel(model);
    },
  };
}

/** The renderer of the live view, with the page in its place where there is none. */
function withPage(live, registry) {
  const renderLive = live.renderModel.bind(live), { clear, shown, view, show } = pageIn(live, registry);
  let current = null;

  function settle(model) {                               // there is a view, or there will be none for now
    if (live.isDisposed) return null;
    if (!view()) return show(model);
    clear();
    view().disposed.connect(() => { if (!live.isDisposed) show(model); });
    return null;
  }
  live.renderModel = async (model) => {
    const id = model.data[VIEW]?.model_id;
    if (id && id === current && view()) return;
    current = id;
    if (!model.trusted || !id) { await show(model); return; }
    const rendered = renderLive(model).then(() => settle(model));
    await Promise.race([rendered, later()]);             // without a kernel it never ends
    if (!live.isDisposed && !view() && !shown()) await show(model);
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
