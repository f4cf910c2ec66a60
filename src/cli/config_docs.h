/* config_docs.h - docs/configuration.md, from the table of settings. */
#ifndef CLI_CONFIG_DOCS_H
#define CLI_CONFIG_DOCS_H

void config_docs_print(void *file); /* a FILE */

#endif
