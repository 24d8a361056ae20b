/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only */
/* What these modules export to each other. */
#ifndef FERRMOD_LOADER_H
#define FERRMOD_LOADER_H

int e_any(void);
int e_gpl(void);
int e_ns(void);
extern int e_data;
int p_any(void);
int slow_sym(void);
int ring_a_turn(int left);
int ring_b_turn(int left);

#endif
